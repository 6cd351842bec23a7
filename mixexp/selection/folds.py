"""Folds for cross-validation: balanced over classes, with every class in every training part."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.utils import check_random_state

Rows = NDArray[np.intp]


def make_folds(
    y: Any, cv: Any, *, classes: bool, random_state: Any = None, X: Any = None
) -> list[tuple[Rows, Rows]]:
    """Pairs of training and test rows.

    Parameters
    ----------
    y : array-like of shape (n,) or (n, m)
        The target.
    cv : int, None, or object with ``split(X, y)``, or iterable of pairs
        An integer deals the rows into that many folds after a seeded shuffle; None or 0 means
        no cross-validation.
    classes : bool
        Deal class by class. A class with one row stays in every training part, so that no fold
        is asked about a class it has never seen.
    random_state : int, RandomState or None
        Seed of the shuffle.
    X : array-like, optional
        Passed to ``cv.split``.

    Returns
    -------
    list of (train, test)
        Arrays of row numbers; empty without cross-validation.
    """
    if cv is None or (isinstance(cv, int | np.integer) and cv == 0):
        return []
    if not isinstance(cv, int | np.integer):
        pairs = cv.split(X, y) if hasattr(cv, "split") else cv
        return [(np.asarray(train), np.asarray(test)) for train, test in pairs]
    target = np.asarray(y)
    n_rows = len(target)
    n_folds = int(min(cv, n_rows))
    if n_folds < 2:
        raise ValueError(f"cv={cv} needs at least 2 folds and 2 rows; got {n_rows} rows.")
    fold = _deal(target, n_folds, classes, random_state)
    every = np.arange(n_rows)
    return [(every[fold != k], every[fold == k]) for k in range(n_folds) if (fold == k).any()]


def _deal(target: Any, n_folds: int, classes: bool, random_state: Any) -> Rows:
    """Fold number of every row; -1 for a row that is never tested."""
    n_rows = len(target)
    order = check_random_state(random_state).permutation(n_rows)
    fold = np.empty(n_rows, dtype=np.intp)
    if not classes:
        fold[order] = np.arange(n_rows) % n_folds
        return fold
    codes = np.unique(target, return_inverse=True)[1].ravel()
    order = order[np.argsort(codes[order], kind="stable")]
    fold[order] = np.arange(n_rows) % n_folds
    counts = np.bincount(codes)
    fold[counts[codes] == 1] = -1
    return fold
