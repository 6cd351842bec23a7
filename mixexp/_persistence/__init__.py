"""Files of parameters: trees of arrays and plain values, never pickles.

``_file`` defines the format, ``_atomic`` the crash-safe writing, and ``_components`` turns
estimators' parts and NamedTuples into trees and back. ``_digest`` tells settings apart.
"""

from mixexp._persistence._atomic import write_atomic
from mixexp._persistence._components import (
    component_from_tree,
    component_to_tree,
    namedtuple_from_tree,
    namedtuple_to_tree,
)
from mixexp._persistence._digest import digest
from mixexp._persistence._file import (
    FORMAT_VERSION,
    FileMeta,
    PersistenceError,
    load_tree,
    save_tree,
)
from mixexp._persistence._labels import labels_from_array, labels_to_array

__all__ = [
    "FORMAT_VERSION",
    "FileMeta",
    "PersistenceError",
    "component_from_tree",
    "component_to_tree",
    "digest",
    "labels_from_array",
    "labels_to_array",
    "load_tree",
    "namedtuple_from_tree",
    "namedtuple_to_tree",
    "save_tree",
    "write_atomic",
]
