# make demo   what the package does: a study of the bundled ethanol data, with a report
# make test   lint, types and the fast tests
# VENV=dir    any other environment; it is made when it does not exist

VENV ?= .venv
VENV_LOWER ?= $(VENV)-lower
# The first Python on the path that is new enough; PYTHON=... chooses another one.
PYTHON ?= $(shell for p in python3 python3.14 python3.13 python3.12 python3.11 python; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && break; done)
WORKERS ?= 2
# GALLERY=0 builds the pages of the examples without running them.
GALLERY ?= 1

BIN := $(VENV)/bin
ETHANOL = $$($(BIN)/python -c 'from importlib.resources import files; \
	print(files("mixexp.datasets") / "data" / "ethanol.csv")')
# pytest's workers are the parallelism of the tests: BLAS stays serial inside them. numba keeps two
# threads, since results must not depend on the number of threads and tests look at that.
TEST_ENV = OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 MKL_NUM_THREADS=1 NUMBA_NUM_THREADS=2

# A worker keeps the tests of a file together, whose fixtures it has made, until others are idle.
PYTEST = -m pytest -n $(WORKERS) --dist worksteal

.PHONY: demo test lint test-slow test-lower docs bench clean

demo: $(VENV)/.installed
	$(BIN)/mixexp study "$(ETHANOL)" --target NOx --experts 1-5 --out demo-report/
	@echo "The report is at $(CURDIR)/demo-report/"

test: lint
	$(TEST_ENV) $(BIN)/python $(PYTEST)

lint: $(VENV)/.installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

test-slow: $(VENV)/.installed-dev
	$(TEST_ENV) $(BIN)/python $(PYTEST) -m "slow and not gpu"
	$(MAKE) docs GALLERY=1
	$(MAKE) test-lower

test-lower: $(VENV_LOWER)/.installed-lower
	$(TEST_ENV) $(VENV_LOWER)/bin/python $(PYTEST)

docs: $(VENV)/.installed-dev
	MIXEXP_GALLERY=$(GALLERY) $(BIN)/python -m sphinx -W --keep-going -b html docs docs/_build/html

bench: $(VENV)/.installed-dev
	$(BIN)/python -m benchmarks

clean:
	rm -rf build dist demo-report docs/_build docs/auto_examples docs/generated

# Editable installs: what is tested or shown is always the code of this checkout, and an
# environment is installed again only when the dependencies change.
$(VENV)/.installed: pyproject.toml constraints.txt | $(BIN)/python
	$(BIN)/python -m pip install -q -e . -c constraints.txt
	@touch $@

$(VENV)/.installed-dev: pyproject.toml constraints.txt | $(BIN)/python
	$(BIN)/python -m pip install -q -e ".[dev,docs]" -c constraints.txt
	@touch $(VENV)/.installed $@

$(VENV_LOWER)/.installed-lower: pyproject.toml constraints-lower.txt | $(VENV_LOWER)/bin/python
	$(VENV_LOWER)/bin/python -m pip install -q -e ".[dev]" -c constraints-lower.txt
	@touch $@

$(BIN)/python $(VENV_LOWER)/bin/python:
	@test -n "$(PYTHON)" || { echo "mixexp needs Python 3.11 or later on the path" >&2; exit 1; }
	$(PYTHON) -m venv $(patsubst %/bin/python,%,$@)
