"""Checks of data frames: their columns, missing values, and types as in training."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from typing import Any

import numpy as np
import pandas as pd

MISSING = ("drop", "raise")
KINDS = ("numbers", "categories")


def as_frame(data: Any) -> pd.DataFrame:
    """The data as a pandas frame with text as column names.

    Raises
    ------
    ValueError
        If the data have no names of columns, or a name twice.
    """
    if isinstance(data, Mapping):
        data = pd.DataFrame(dict(data))
    if hasattr(data, "to_pandas"):
        data = data.to_pandas()
    if not isinstance(data, pd.DataFrame):
        raise ValueError(
            f"formulas need a data frame with named columns; got a {type(data).__name__}. Use "
            "pandas.DataFrame(values, columns=names), or MoERegressor, which takes arrays and "
            "datasets."
        )
    if len(data) == 0:
        raise ValueError("the data frame has no rows.")
    return data


def rows_of_prior(values, kept) -> np.ndarray:
    """What is known of the experts of the rows that are kept, of an array for all rows."""
    prior = np.asarray(values, dtype=np.float64)
    if len(prior) != len(kept):
        raise ValueError(
            f"expert_prior has {len(prior)} rows; the data have {len(kept)}, each needs one."
        )
    return prior[kept]


def check_columns(frame: pd.DataFrame, used: Iterable[str], meanings: Mapping[str, str]) -> None:
    """Refuse a frame that lacks a column, or has it twice."""
    for name in used:
        count = int((frame.columns == name).sum())
        if count == 1:
            continue
        role = f" ({meanings[name]})" if name in meanings else ""
        if count:
            raise ValueError(f"the data frame has {count} columns named {name!r}{role}; need one.")
        near = get_close_matches(name, [str(column) for column in frame.columns], 1)
        hint = f" Did you mean {near[0]!r}?" if near else ""
        raise ValueError(
            f"the data frame has no column {name!r}{role}.{hint} Its columns are "
            f"{[str(column) for column in frame.columns][:20]}; names that are no identifiers need "
            "backticks."
        )


def check_missing(frame: pd.DataFrame, used: list[str], missing: str) -> np.ndarray:
    """(n,) whether each row is complete.

    Raises
    ------
    ValueError
        If rows are incomplete and missing="raise", or none is complete.
    """
    if missing not in MISSING:
        raise ValueError(f"missing must be 'drop' or 'raise'; got {missing!r}.")
    absent = frame[used].isna()
    incomplete = absent.any(axis=1).to_numpy()
    if not incomplete.any():
        return ~incomplete
    where = ", ".join(f"{name} ({int(n)})" for name, n in absent.sum().items() if n)
    if missing == "raise" or incomplete.all():
        raise ValueError(
            f"{int(incomplete.sum())} of {len(frame)} rows have missing values, in {where}: fill "
            "them in or leave these rows out."
        )
    return ~incomplete


def kinds_of(frame: pd.DataFrame) -> dict[str, str]:
    """What each column is: "numbers", "categories", or another type's name."""
    return {str(name): _kind(frame[name]) for name in frame.columns}


def check_types(frame: pd.DataFrame) -> None:
    """Refuse columns that are neither numbers nor categories."""
    for name, kind in kinds_of(frame).items():
        if kind not in KINDS:
            raise ValueError(
                f"the column {name!r} holds {kind}; formulas take numbers and categories. Make a "
                "column of numbers from it, such as the days since a date."
            )


def check_kinds(frame: pd.DataFrame, kinds: Mapping[str, str]) -> None:
    """Refuse columns of another kind than in training."""
    for name, kind in kinds_of(frame).items():
        if name in kinds and kinds[name] != kind:
            raise ValueError(
                f"the column {name!r} holds {kind} ({frame[name].dtype}); in training it held "
                f"{kinds[name]}. Convert it, for example with .astype."
            )


def _kind(values: pd.Series) -> str:
    if pd.api.types.is_numeric_dtype(values):  # truth values too
        return "numbers"
    categorical = isinstance(values.dtype, pd.CategoricalDtype)
    if categorical or pd.api.types.is_string_dtype(values) or values.dtype == object:
        return "categories"
    return str(values.dtype)
