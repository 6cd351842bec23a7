"""Groups of rows as users give them, and the random terms of each factor."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from .._validation import check_columns
from ..em.mixed.effects import INTERCEPT
from ..em.mixed.prediction import UNSEEN

INTERCEPT_NAMES = ("1", "intercept", "(intercept)")


class Factor(NamedTuple):
    """Labels (n,) of one grouping, None where a row has none."""

    name: str
    values: np.ndarray


def read_factors(groups: Any, n: int) -> list[Factor]:
    """The factors of ``groups``: an array (n,) or (n, L), a Series, a data frame or a dict.

    Raises
    ------
    ValueError
        If lengths disagree or there is no factor.
    """
    if isinstance(groups, dict):
        pairs = list(groups.items())
    elif isinstance(groups, pd.DataFrame):
        pairs = [(name, groups[name]) for name in groups.columns]
    elif isinstance(groups, pd.Series):
        pairs = [(groups.name if groups.name is not None else "group", groups)]
    else:
        array = np.asarray(groups)
        if array.ndim == 1:
            pairs = [("group", array)]
        elif array.ndim == 2:
            pairs = [(f"group {l}", array[:, l]) for l in range(array.shape[1])]
        else:
            raise ValueError(
                "groups must be labels of shape (n,) or (n, L), or a dict or data frame of name -> "
                f"(n,) labels; got an array of shape {array.shape}."
            )
    if not pairs:
        raise ValueError("groups holds no factor: give at least one array of labels.")
    out = []
    for name, values in pairs:
        column = pd.Series(np.asarray(values), dtype=object)
        if np.ndim(values) != 1 or len(column) != n:
            raise ValueError(
                f"groups: factor {str(name)!r} needs one label per row, shape ({n},); got "
                f"{np.shape(values)}."
            )
        out.append(Factor(str(name), column.where(column.notna(), None).to_numpy(dtype=object)))
    return out


def nest(factors: list[Factor]) -> list[Factor]:
    """Labels of every factor within those of the factors before it: "north/1", "south/1", ..."""
    out = factors[:1]
    for factor in factors[1:]:
        pairs = zip(out[-1].values, factor.values, strict=True)
        joined = [None if a is None or b is None else f"{a}/{b}" for a, b in pairs]
        out.append(Factor(factor.name, np.array(joined, dtype=object)))
    return out


def codes_of(factor: Factor) -> tuple[np.ndarray, np.ndarray]:
    """Numbers (n,) of the groups and their labels, in sorted order.

    Raises
    ------
    ValueError
        On missing labels.
    """
    missing = np.flatnonzero([value is None for value in factor.values])
    if len(missing):
        raise ValueError(
            f"groups: factor {factor.name!r} has no label in {len(missing)} row(s), the first of "
            f"them row {missing[0]}. Drop these rows, or give each a label of its own."
        )
    unique, codes = np.unique(_labels(factor), return_inverse=True)
    return codes.ravel(), unique


def numbered(factor: Factor) -> tuple[np.ndarray, np.ndarray]:
    """`codes_of` the groups of a fit.

    Raises
    ------
    ValueError
        On missing labels and on fewer than two groups.
    """
    codes, unique = codes_of(factor)
    if len(unique) < 2:
        raise ValueError(
            f"groups: factor {factor.name!r} has the one group {unique.tolist()[0]}, and a random "
            "effect needs several. Use MoERegressor for data of one group."
        )
    return codes, unique


def _labels(factor: Factor) -> np.ndarray:
    """Labels as whole numbers, or as text."""
    kinds = {isinstance(value, int | np.integer | np.bool_) for value in factor.values}
    if kinds == {True}:
        return np.array([int(value) for value in factor.values])
    return np.array([_text(value) for value in factor.values])


def _text(value) -> str:
    whole = isinstance(value, float | np.floating) and float(value).is_integer()
    return str(int(value)) if whole else str(value)


def look_up(factor: Factor, labels: np.ndarray) -> np.ndarray:
    """Numbers of the groups among ``labels``; `UNSEEN` for others and for none."""
    position = {_text(label): g for g, label in enumerate(labels.tolist())}
    return np.array(
        [UNSEEN if v is None else position.get(_text(v), UNSEEN) for v in factor.values], dtype=int
    )


def terms_of(setting, factors, names, p, what) -> list[tuple[int, ...]]:
    """The random terms of every factor: `INTERCEPT` or columns of X.

    Parameters
    ----------
    setting : None, sequence of terms, or dict of factor -> sequence of terms
        "1" is the intercept; other terms name columns, or count them.

    Raises
    ------
    ValueError
        If a column or a factor is unknown.
    """
    own = [factor.name for factor in factors]
    if isinstance(setting, dict):
        unknown = [name for name in setting if name not in own]
        if unknown:
            raise ValueError(f"{what}: no factor named {unknown!r}; groups has {own!r}.")
        each = [setting.get(name) for name in own]
    else:
        each = [setting] * len(own)
    return [_terms(one, names, p, what) for one in each]


def _terms(setting, names, p, what) -> tuple[int, ...]:
    if setting is None:
        return ()
    listed = [setting] if isinstance(setting, str | int | np.integer) else list(setting)
    intercept = [t for t in listed if isinstance(t, str) and t.lower() in INTERCEPT_NAMES]
    slopes = [t for t in listed if not (isinstance(t, str) and t.lower() in INTERCEPT_NAMES)]
    columns = check_columns(slopes, names, p, what) if slopes else np.empty(0, dtype=int)
    return tuple([INTERCEPT] * bool(intercept) + [int(column) for column in columns])
