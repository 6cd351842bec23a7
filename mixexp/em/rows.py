"""`Rows`: what travels with the rows, as one value; and the designs made of a block of them."""

from __future__ import annotations

from itertools import pairwise
from typing import NamedTuple

import numpy as np
from scipy import sparse

from ..kernels.designs import weighted_grams
from ..scaling import BLOCK, Scaling, blocks, design, moments

__all__ = ["BLOCK", "Rows", "Scaling", "blocks", "design", "standardisation"]


class Rows(NamedTuple):
    """All row-wise inputs of a fit.

    Attributes
    ----------
    X : (n, p) ndarray or scipy CSR
    y : (n, m) float64
        Targets; class codes for a classification family (m = 1).
    weight, offset, trials : (n,) float64 or None
    prior : (n, K) float64 or None
        What is known of the rows' experts: weights >= 0 with a maximum of one in every row.
    group : (n,) int or None
        Groups of rows that share one expert, as runs of equal codes. A *unit* is a group, or a
        row where there are none; the weight and the gate's columns are those of the unit.
    """

    X: np.ndarray | sparse.csr_array
    y: np.ndarray
    weight: np.ndarray | None = None
    offset: np.ndarray | None = None
    trials: np.ndarray | None = None
    prior: np.ndarray | None = None
    group: np.ndarray | None = None

    @property
    def n(self) -> int:
        return self.X.shape[0]

    @property
    def total_weight(self) -> float:
        """Sum of the units' weights."""
        return float(self.n_units if self.weight is None else self.unit_weight.sum())

    @property
    def first(self):
        """Positions of the units' first rows, as an index."""
        if self.group is None:
            return slice(None)
        return np.flatnonzero(np.r_[True, self.group[1:] != self.group[:-1]])

    @property
    def n_units(self) -> int:
        return self.n if self.group is None else len(self.first)

    @property
    def unit_X(self):
        """X at the units' first rows: what a gate sees."""
        return self.X if self.group is None else self.X[self.first]

    @property
    def unit_weight(self) -> np.ndarray:
        """(U,) weights of the units."""
        return np.ones(self.n_units) if self.weight is None else self.weight[self.first]

    def unit_sums(self, values):
        """(U, ...) sums within the units of row-wise values."""
        return values if self.group is None else np.add.reduceat(values, self.first, axis=0)

    def spread(self, values):
        """(n, ...) values of the units, row by row."""
        if self.group is None:
            return values
        return np.repeat(values, np.diff(np.r_[self.first, self.n]), axis=0)

    def once(self, values):
        """(n,) the units' values at their first rows and zero elsewhere: their sum is the same."""
        if self.group is None:
            return values
        out = np.zeros(self.n)
        out[self.first] = values
        return out

    def blocks(self, size: int = BLOCK) -> list[slice]:
        """Slices of about fixed size that end where a unit ends."""
        whole = blocks(self.n, size)
        if self.group is None:
            return whole
        ends = np.r_[self.first[1:], self.n]
        cuts = ends[np.searchsorted(ends, [block.stop for block in whole])]
        cuts = np.unique(np.r_[0, cuts])
        return [slice(start, stop) for start, stop in pairwise(cuts)]

    def take(self, index) -> Rows:
        """The rows of a slice or of an index array, which leaves groups whole."""
        others = (None if part is None else part[index] for part in self[2:])
        return Rows(self.X[index], self.y[index], *others)


INDEPENDENT = 1e-8  # share of a column's variance that the columns before it must leave


def columns_with_density(rows: Rows, columns, independent: bool):
    """The columns on which rows can have a density: those that vary.

    With ``independent`` also without exact linear combinations of the columns before them, unless
    there are too few rows to tell.
    """
    scaling = standardisation(rows._replace(y=np.zeros((rows.n, 1))), False)
    columns = np.asarray(columns)[np.isfinite(scaling.x_scale[columns])]
    weight = np.ones(rows.n) if rows.weight is None else rows.weight
    if not independent or np.count_nonzero(weight) <= len(columns) + 1:
        return columns
    q = len(columns) + 1
    gram = np.zeros((q, q))
    for block in blocks(rows.n):
        part = design(rows.X[block], columns, scaling)
        gram += weighted_grams(part, weight[block][:, None])[0]
    mean = gram[0, 1:] / gram[0, 0]
    return columns[_independent(gram[1:, 1:] / gram[0, 0] - np.outer(mean, mean))]


def _independent(covariance):
    """Positions kept by a Cholesky factorisation that skips what has no variance left."""
    kept: list[int] = []
    for j in range(len(covariance)):
        own = covariance[j, j]
        if kept:
            cross = covariance[kept, j]
            left = own - cross @ np.linalg.solve(covariance[np.ix_(kept, kept)], cross)
        else:
            left = own
        if left > INDEPENDENT * own:
            kept.append(j)
    return np.array(kept, dtype=int)


def scaling_for(expert, rows: Rows) -> Scaling:
    """The common scale of the columns, and of the target as far as the family wants one."""
    points = rows._replace(y=expert.points(rows.y))
    return standardisation(points, expert.scales_target, expert.scales_target_together)


def standardisation(rows: Rows, scale_target: bool, together: bool = False) -> Scaling:
    """Weighted means and standard deviations, merged block by block (no copy of X is made).

    With ``together`` all responses have one scale: the root mean square of their own.
    """
    p, m = rows.X.shape[1], rows.y.shape[1]
    x_mean, x_scale = moments(rows.X, rows.weight)
    if sparse.issparse(rows.X):
        x_mean = np.zeros(p)
    y_mean, y_scale = np.zeros(m), np.ones(m)
    if scale_target:
        # what the offset explains says nothing about the scale of the experts
        y = rows.y if rows.offset is None else rows.y - rows.offset[:, None]
        y_mean, y_scale = moments(y, rows.weight)
    if together and np.isfinite(y_scale).any():
        y_scale = np.full(m, np.sqrt(np.mean(y_scale[np.isfinite(y_scale)] ** 2)))
    return Scaling(x_mean, x_scale, y_mean, np.where(np.isinf(y_scale), 1.0, y_scale))
