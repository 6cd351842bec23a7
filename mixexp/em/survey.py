"""What one reading of rows that are elsewhere sums up, before a fit."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from ..experts.target import TargetSummary
from ..scaling import Moments, Products
from .rows import MANY_COLUMNS, Rows
from .starts.keys import hash_rows, mix

MANY = 2**18  # distinct rows up to which their hashes and weights are kept
HEAD = 512  # first rows that are kept as an example


class Distinct(NamedTuple):
    """Distinct rows: their hashes, sorted, and summed weights; None where they are too many."""

    key: np.ndarray | None
    weight: np.ndarray | None

    def merged(self, other: Distinct) -> Distinct:
        """Those of earlier rows and of later ones."""
        if self.key is None or other.key is None:
            return Distinct(None, None)
        key = np.concatenate([self.key, other.key])
        return merged_keys(key, np.concatenate([self.weight, other.weight]))


def merged_keys(key, weight, most=MANY) -> Distinct:
    """Equal keys merged and their weights added, in the order in which they stand."""
    order = np.argsort(key, kind="stable")
    key, weight = key[order], weight[order]
    first = np.flatnonzero(np.concatenate([[True], key[1:] != key[:-1]]))
    if len(first) > most:
        return Distinct(None, None)
    return Distinct(key[first], np.add.reduceat(weight, first))


class Survey(NamedTuple):
    """Sums over rows of positive weight.

    Attributes
    ----------
    n : int
    weight : float
        Total weight.
    x, y, left : Moments
        Of the columns of X, of the target, and of what the offset leaves of it.
    logs : Moments or None
        Of the logarithms of a positive target.
    counts : (C,) array or None
        Weights of the classes.
    total, largest : float
        Sum and maximum of the target's values.
    products : Products or None
        Of the columns that a model uses, where they are few enough.
    distinct : Distinct
    keys : int or None
        Sum, modulo 2**64, of a hash of every row with its offset, trials and weight: what the
        rows are, in any order.
    head : Rows
        The first rows.
    """

    n: int
    weight: float
    x: Moments
    y: Moments
    left: Moments
    logs: Moments | None
    counts: np.ndarray | None
    total: float
    largest: float
    products: Products | None
    distinct: Distinct
    keys: int | None
    head: Rows

    def merged(self, other: Survey) -> Survey:
        """That of earlier rows and of later ones."""
        both = (self.logs, other.logs)
        few = self.head.n < HEAD
        return Survey(
            self.n + other.n,
            self.weight + other.weight,
            self.x.merged(other.x),
            self.y.merged(other.y),
            self.left.merged(other.left),
            None if None in both else both[0].merged(both[1]),  # type: ignore[union-attr, arg-type]
            _added(self.counts, other.counts),
            self.total + other.total,
            max(self.largest, other.largest),
            None if self.products is None else self.products.merged(other.products),  # type: ignore[arg-type]
            self.distinct.merged(other.distinct),
            None if None in (self.keys, other.keys) else (self.keys + other.keys) % 2**64,  # type: ignore[operator]
            joined([self.head, other.head]).take(slice(HEAD)) if few else self.head,
        )

    def target(self) -> TargetSummary:
        """What a family may learn from the target."""
        return TargetSummary(
            self.y.mean_and_scale()[1],
            None if self.logs is None else self.logs.mean_and_scale()[1],
            self.counts,
            self.total / (self.n * len(self.y.mean)),
            self.largest,
        )


class Surveyor:
    """The function of blocks that takes the survey.

    ``counts`` says whether rows are told apart, ``columns`` of which of X, ascending, products are
    summed: none are of more than `MANY_COLUMNS`.
    """

    def __init__(self, classifies: bool, counts: bool = True, columns=()):
        few = 0 < len(columns) <= MANY_COLUMNS
        self.classifies, self.counts, self.columns = classifies, counts, columns if few else None

    def __call__(self, rows: Rows) -> Survey:
        y, weight = rows.y, rows.weight
        left = y if rows.offset is None else y - rows.offset[:, None]
        codes = y[:, 0].astype(int) if self.classifies else None
        key = hash_rows(rows) if self.counts else None
        return Survey(
            rows.n,
            rows.total_weight,
            Moments.of(rows.X, weight),
            Moments.of(y, weight),
            Moments.of(left, weight),
            Moments.of(np.log(y), weight) if not self.classifies and y.min() > 0 else None,
            None if codes is None else np.bincount(codes, weights=weight),
            float(y.sum()),
            float(y.max()),
            None if self.columns is None else Products.of(rows.X, self.columns, weight),
            Distinct(None, None) if key is None else merged_keys(key, _weight(rows)),
            None if key is None else _sum_of_keys(key, _weight(rows)),
            copied(rows.take(slice(HEAD))),
        )


def joined(parts) -> Rows:
    """The rows of several parts, one after the other."""
    values: list[Any] = [
        None if one is None else np.concatenate([part[place] for part in parts])
        for place, one in enumerate(parts[0])
    ]
    return Rows(*values)


def copied(rows: Rows) -> Rows:
    """The rows in arrays of their own, which hold no block in memory."""
    values: list[Any] = [None if part is None else part.copy() for part in rows]
    return Rows(*values)


def _sum_of_keys(key, weight) -> int:
    """The sum, modulo 2**64, of hashes of rows and their weights."""
    bits = np.ascontiguousarray(weight, dtype=np.float64).view(np.uint64)
    return int(mix(key ^ bits).sum(dtype=np.uint64))


def _weight(rows):
    return np.ones(rows.n) if rows.weight is None else rows.weight


def _added(one, other):
    """Sums of counts of classes, of which the later ones may be missing."""
    if one is None or other is None:
        return None
    out = np.zeros(max(len(one), len(other)))
    out[: len(one)] += one
    out[: len(other)] += other
    return out
