"""`Rows`: what travels with the rows, as one value; and the designs made of a block of them."""

from __future__ import annotations

import functools
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
from scipy import sparse

from ..experts.target import Target
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
    def p(self) -> int:
        """Columns of X."""
        return self.X.shape[1]

    @property
    def m(self) -> int:
        """Columns of y."""
        return self.y.shape[1]

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

    @property
    def weighted(self) -> bool:
        return self.weight is not None

    @property
    def n_positive(self) -> int:
        """Units of positive weight."""
        return self.n_units if self.weight is None else int(np.count_nonzero(self.unit_weight))

    @property
    def counted_units(self) -> float:
        """How many units the sample amounts to: its total weight, but at least `n_positive`.

        A weight of 2 counts as two units; weights below one on average are read as relative ones.
        """
        return max(self.total_weight, float(self.n_positive))

    @property
    def counted_rows(self) -> float:
        """The same of rows, where units are groups of them."""
        if self.weight is None:
            return float(self.n)
        return max(float(self.weight.sum()), float(np.count_nonzero(self.weight)))

    # --- what is asked of the rows as a whole, which rows that are elsewhere answer as well -------

    @property
    def example(self) -> Rows:
        """Rows that show the shapes of all."""
        return self

    @property
    def target(self) -> Target:
        """What a family may learn from the target."""
        return Target(self.y, self.weight)

    def x_moments(self):
        """(p,) means and standard deviations of X; the means of sparse columns are left at zero."""
        mean, scale = moments(self.X, self.weight)
        return np.zeros(self.p) if sparse.issparse(self.X) else mean, scale

    def y_moments(self):
        """(m,) means and standard deviations of what the offset leaves of the target."""
        # what the offset explains says nothing about the scale of the experts
        y = self.y if self.offset is None else self.y - self.offset[:, None]
        return moments(y, self.weight)

    def summed(self, function):
        """``function(rows)`` summed over blocks of the rows."""
        return functools.reduce(np.add, (function(self.take(block)) for block in self.blocks()))

    def mapped(self, function) -> Rows:
        """``function(rows)``: rows of other columns, made block by block."""
        parts = [function(self.take(block)).X for block in self.blocks()]
        return self._replace(X=np.concatenate(parts))

    # ----------------------------------------------------------------------------------------

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

    def part(self, block: slice) -> Rows:
        """The rows of a slice, where they are."""
        return self.take(block)

    def take(self, index) -> Rows:
        """The rows of a slice or of an index array, which leaves groups whole."""
        others = (None if part is None else part[index] for part in self[2:])
        return Rows(self.X[index], self.y[index], *others)


INDEPENDENT = 1e-8  # share of a column's variance that the columns before it must leave
MANY_COLUMNS = 1000  # beyond which no Gram matrix is formed to count the independent ones


def columns_with_density(rows: Rows | Any, columns, independent: bool):
    """The columns on which rows can have a density: those that vary.

    With ``independent`` also without exact linear combinations of the columns before them, unless
    there are too few rows to tell.
    """
    x_mean, x_scale = rows.x_moments()
    columns = np.asarray(columns)[np.isfinite(x_scale[columns])]
    positive = rows.n if rows.weight is None else np.count_nonzero(rows.weight)
    if not independent or positive <= len(columns) + 1:
        return columns
    scaling = Scaling(x_mean, x_scale, np.zeros(1), np.ones(1))
    gram = design_gram(rows, columns, scaling)
    mean = gram[0, 1:] / gram[0, 0]
    return columns[_independent(gram[1:, 1:] / gram[0, 0] - np.outer(mean, mean))]


@functools.singledispatch
def design_gram(rows: Rows | Any, columns, scaling: Scaling):
    """(q, q) weighted Gram matrix of standardised columns behind a column of ones."""
    return rows.summed(functools.partial(_row_gram, columns, scaling))


def _row_gram(columns, scaling, rows):
    """That of a block."""
    weight = np.ones(rows.n) if rows.weight is None else rows.weight
    return weighted_grams(design(rows.X, columns, scaling), weight[:, None])[0]


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
    x_mean, x_scale = rows.x_moments()
    y_mean, y_scale = np.zeros(rows.m), np.ones(rows.m)
    if scale_target:
        y_mean, y_scale = rows.y_moments()
    if together and np.isfinite(y_scale).any():
        y_scale = np.full(rows.m, np.sqrt(np.mean(y_scale[np.isfinite(y_scale)] ** 2)))
    return Scaling(x_mean, x_scale, y_mean, np.where(np.isinf(y_scale), 1.0, y_scale))
