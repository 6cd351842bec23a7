"""Columns and targets of any kind as arrays; their names, and the order of labels."""

from __future__ import annotations

from typing import Any

import numpy as np


def as_values(part) -> np.ndarray:
    """An array of rows; nullable numbers become floats with NaN, as in memory."""
    framed = hasattr(part, "columns")
    kinds = list(part.dtypes) if framed else [getattr(part, "dtype", None)]
    plain = all(isinstance(kind, np.dtype) for kind in kinds)
    held = [getattr(kind, "numpy_dtype", kind) for kind in kinds]
    numeric = all(getattr(kind, "kind", "O") in "biuf" for kind in held)
    if not numeric or not hasattr(part, "to_numpy") or (plain and not framed):
        return np.asarray(part)
    single = plain and bool(kinds) and np.result_type(*kinds) == np.float32
    return part.to_numpy(dtype=np.float32 if single else np.float64, na_value=np.nan)


def as_floats(X) -> np.ndarray:
    """X as float32 where it is, else as float64; what are no numbers stays as it is."""
    X = as_values(X)
    if X.dtype in (np.float32, np.float64) or X.dtype.kind not in "biufOUS":
        return X
    try:
        return X.astype(np.float64)
    except (TypeError, ValueError):
        return X


def column_names(columns) -> list[str] | None:
    """Names of columns, where there are any and all are texts."""
    names = [] if columns is None else list(columns)
    return names if names and all(isinstance(name, str) for name in names) else None


def label_order(y) -> list[Any] | None:
    """The categories of an ordered categorical, from lowest to highest; None for other targets.

    Raises
    ------
    ValueError
        Where Dask does not know the categories.
    """
    kind: Any = getattr(y, "dtype", None)
    if not getattr(kind, "ordered", False):
        return None
    if not getattr(getattr(y, "cat", None), "known", True):
        raise ValueError(
            "y is an ordered categorical whose categories Dask does not know. Use "
            "y.cat.as_known(), or y.astype(pandas.CategoricalDtype([...], ordered=True))."
        )
    return list(kind.categories)
