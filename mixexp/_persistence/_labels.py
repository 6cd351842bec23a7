"""Labels of classes as arrays that a file can hold, and back."""

from __future__ import annotations

import numpy as np

from mixexp._persistence._file import PersistenceError


def labels_to_array(labels: np.ndarray) -> np.ndarray:
    """Labels in a dtype that a file can hold.

    Raises
    ------
    PersistenceError
        For Python objects of mixed types.
    """
    if labels.dtype != object:
        return labels
    if all(isinstance(label, str) for label in labels):
        return labels.astype(str)
    raise PersistenceError(
        "The class labels are Python objects of mixed types; only numbers, bool and text can be "
        "stored. Convert the target first."
    )


def labels_from_array(array: np.ndarray) -> np.ndarray:
    """Labels as they were fitted: texts are objects again."""
    return array.astype(object) if array.dtype.kind == "U" else array
