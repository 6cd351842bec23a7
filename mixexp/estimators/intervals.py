"""Targets that are known as intervals, or that are in the data only because of their value."""

from __future__ import annotations

import numpy as np


class Intervals:
    """Targets of n rows as `intervals` makes them: index it, take its length, give it as y.

    Attributes
    ----------
    values : ndarray of shape (n, 4)
        Lower and upper ends, and the lower and upper ends of the interval of truncation.
    """

    def __init__(self, values):
        self.values = values

    @property
    def shape(self):
        return (len(self.values),)

    @property
    def ndim(self):
        return 1

    @property
    def dtype(self):
        return self.values.dtype

    def __len__(self):
        return len(self.values)

    def __getitem__(self, index):
        index = index[0] if isinstance(index, tuple) else index
        return Intervals(np.atleast_2d(self.values[index]))

    def __array__(self, dtype=None, copy=None):
        raise TypeError(
            "y holds intervals; this method needs one value for every row. Methods that take "
            "intervals are fit, log_prob, responsibilities and inference."
        )

    def __repr__(self):
        lower, upper, low, high = self.values.T
        seen = int((lower == upper).sum())
        truncated = int((np.isfinite(low) | np.isfinite(high)).sum())
        return f"Intervals({len(self)} rows: {seen} values seen, {truncated} truncated)"


def intervals(lower, upper=None, *, truncated_below=None, truncated_above=None) -> Intervals:
    """Targets as intervals: censored, rounded, grouped or truncated rows.

    Row i says that y lies in (lower, upper], or that y is ``lower`` where both are equal.

    Parameters
    ----------
    lower : array-like (n,)
        ``-inf`` for a row of which only an upper bound is known (left-censored).
    upper : array-like (n,) or None
        ``inf`` for a row of which only a lower bound is known (right-censored). None: every
        ``lower`` is a value that was seen.
    truncated_below, truncated_above : float, array-like (n,) or None
        The row is in the data only because its y lies in (truncated_below, truncated_above]:
        deductibles and limits of what is reported, delayed entry. None and infinite values: it
        would be there whatever its y.

    Returns
    -------
    Intervals
        What estimators take as y in `fit`, `log_prob`, `responsibilities` and `inference`.
        Predictions speak of the law of y itself, without censoring and truncation.

    Raises
    ------
    ValueError
        If an end is NaN, ends are in the wrong order, or a row lies outside its own truncation.

    Examples
    --------
    >>> from mixexp import intervals
    >>> intervals([1.2, 5.0, 0.0], [1.2, float("inf"), 2.0])  # seen, at least 5, at most 2
    Intervals(3 rows: 1 values seen, 0 truncated)
    """
    lower = _column(lower, "lower", None)
    n = len(lower)
    upper = lower if upper is None else _column(upper, "upper", n)
    low = _column(-np.inf if truncated_below is None else truncated_below, "truncated_below", n)
    high = _column(np.inf if truncated_above is None else truncated_above, "truncated_above", n)
    values = np.column_stack([lower, upper, low, high])
    _refuse(np.isnan(values).any(axis=1), values, "holds NaN; drop the row or use infinite ends")
    wrong = "has its upper end below its lower one; did lower and upper change places?"
    _refuse(upper < lower, values, wrong)
    wrong = "is truncated to an interval with its upper end below its lower one; give them in order"
    _refuse(high < low, values, wrong)
    infinite = np.isinf(lower) & (lower == upper)
    _refuse(infinite, values, "is an infinite value; give the finite end that is known")
    _refuse(np.isneginf(lower) & np.isposinf(upper), values, "says nothing; drop the row")
    seen = lower == upper
    inside = np.where(seen, (lower > low) & (lower <= high), (lower >= low) & (upper <= high))
    _refuse(
        ~inside & (np.isfinite(low) | np.isfinite(high)),
        values,
        "does not lie in the interval to which its row is truncated; cut it there first",
    )
    return Intervals(values)


def _column(values, name, n):
    try:
        array = np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"{name} needs numbers ({error}); write -inf or inf for an end that is not known."
        ) from None
    if array.ndim == 0 and n is not None:
        array = np.full(n, float(array))
    if array.ndim != 1 or (n is not None and len(array) != n):
        needed = "one value for every row" if n is None else f"{n} values"
        raise ValueError(f"{name} needs {needed}; got an array of shape {array.shape}.")
    return array


def _refuse(bad, values, what):
    if bad.any():
        i = int(np.argmax(bad))
        lower, upper, low, high = values[i]
        truncation = f" truncated to ({low:g}, {high:g}]" if np.isfinite([low, high]).any() else ""
        end = "" if what.endswith("?") else "."
        raise ValueError(f"row {i}, ({lower:g}, {upper:g}]{truncation}, {what}{end}")
