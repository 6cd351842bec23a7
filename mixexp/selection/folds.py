"""Folds for cross-validation: balanced over classes, with every class in every training part."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from sklearn.utils import check_random_state

from mixexp.em.rows import Rows as MoERows
from mixexp.em.starts.table import hash_rows, keyed_uniform

Rows = NDArray[np.intp]


def make_folds(
    y: Any,
    cv: Any,
    *,
    classes: bool,
    random_state: Any = None,
    X: Any = None,
    groups: Any = None,
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
    groups : (n,) array, optional
        Labels of groups that stay together; an integer then deals groups, whatever their classes.

    Returns
    -------
    list of (train, test)
        Arrays of row numbers; empty without cross-validation.

    Raises
    ------
    ValueError
        If there are too few rows or groups, or the given folds divide a group.
    """
    if cv is None or (isinstance(cv, int | np.integer) and cv == 0):
        return []
    if not isinstance(cv, int | np.integer):
        given = (X, y) if groups is None else (X, y, groups)
        pairs = cv.split(*given) if hasattr(cv, "split") else cv
        folds = [(np.asarray(train), np.asarray(test)) for train, test in pairs]
        if groups is not None:
            _check_whole(folds, groups)
        return folds
    if groups is not None:
        return _group_folds(groups, cv, random_state)
    target = np.asarray(y)
    n_rows = len(target)
    n_folds = int(min(cv, n_rows))
    if n_folds < 2:
        raise ValueError(f"cv={cv} needs at least 2 folds and 2 rows; got {n_rows} rows.")
    fold = _deal(target, n_folds, classes, random_state)
    every = np.arange(n_rows)
    return [(every[fold != k], every[fold == k]) for k in range(n_folds) if (fold == k).any()]


def _group_folds(groups: Any, cv: Any, random_state: Any) -> list[tuple[Rows, Rows]]:
    """Folds of whole groups, which are dealt in the order of their first rows."""
    _, first, inverse = np.unique(groups, return_index=True, return_inverse=True)
    if len(first) < 2:
        raise ValueError(f"cv={cv} needs at least 2 groups; got {len(first)}.")
    code = np.argsort(np.argsort(first))[inverse]
    dealt = make_folds(np.arange(len(first)), cv, classes=False, random_state=random_state)
    tests = [np.isin(code, test) for _, test in dealt]
    return [(np.flatnonzero(~test), np.flatnonzero(test)) for test in tests]


def _check_whole(folds: list[tuple[Rows, Rows]], groups: Any) -> None:
    for train, test in folds:
        both = np.intersect1d(groups[train], groups[test])
        if len(both):
            raise ValueError(
                f"cv divides {len(both)} groups between training and test rows. Give a number of "
                "folds, or a splitter that keeps groups together, such as GroupKFold."
            )


def keyed_folds(rows: MoERows, cv: int, *, classes: bool, seed: int) -> list[tuple[Rows, Rows]]:
    """Folds that are a function of the weighted sample, as starts are.

    Distinct rows are dealt in the order of seeded hashes of their values. So equal rows are in
    one fold (and none is tested by its own copy), a weight of 2 equals the row twice, and the
    order of the rows does not matter. Rows of weight zero are never tested.

    Parameters
    ----------
    rows : mixexp.em.rows.Rows
    cv : int
        Number of folds.
    classes : bool
        As for `make_folds`; a class with one distinct row is never tested.
    seed : int

    Returns
    -------
    list of (train, test)
    """
    distinct = distinct_rows(rows, classes=classes)
    n_folds = min(cv, len(distinct.key))
    if n_folds < 2:
        raise ValueError(
            f"cv={cv} needs at least 2 folds and 2 distinct rows; got {len(distinct.key)} rows "
            f"(n_samples={rows.n})."
        )
    order = distinct.shuffled(seed)
    dealt = np.empty(len(order), dtype=np.intp)
    dealt[order] = np.arange(len(order)) % n_folds
    if classes:
        dealt[np.bincount(distinct.code)[distinct.code] == 1] = -1
    fold = distinct.spread(dealt)
    every = np.arange(rows.n)
    return [(every[fold != k], every[fold == k]) for k in range(n_folds) if (fold == k).any()]


class Distinct(NamedTuple):
    """The distinct rows of positive weight.

    Attributes
    ----------
    key : (m,) uint64
        Hashes, ascending.
    code : (m,) int
        Classes; zeros where they do not matter.
    place : (n,) int
        Number of every row among the distinct ones; -1 for weight zero.
    """

    key: NDArray[np.uint64]
    code: NDArray[np.intp]
    place: Rows

    def shuffled(self, seed: int) -> Rows:
        """Numbers of the distinct rows class by class, in the order of seeded hashes."""
        return np.lexsort((keyed_uniform(self.key, seed), self.code))

    def spread(self, dealt: Rows) -> Rows:
        """(n,) what was dealt to the distinct rows, row by row; -1 for weight zero."""
        return np.where(self.place < 0, -1, dealt[self.place])


def distinct_rows(rows: MoERows, *, classes: bool) -> Distinct:
    """The distinct rows of a sample, with their classes where these matter."""
    counted = np.ones(rows.n, dtype=bool) if rows.weight is None else rows.weight > 0
    key, first, inverse = np.unique(
        hash_rows(rows)[counted], return_index=True, return_inverse=True
    )
    code = rows.y[counted, 0][first].astype(np.intp) if classes else np.zeros(len(key), np.intp)
    place = np.full(rows.n, -1)
    place[counted] = inverse
    return Distinct(key, code, place)


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
