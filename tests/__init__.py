"""The tests of mixexp; a package, so that `tests.import_rules` is never another project's."""
