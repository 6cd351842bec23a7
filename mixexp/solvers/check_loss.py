"""Weighted quantile regression from rows that were collected block by block."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from ..kernels.check_loss import NEAR, minimise


class Minimum(NamedTuple):
    """Where a check loss is least: coef (q,), loss, and whether the subgradient condition holds."""

    coef: np.ndarray
    loss: float
    settled: bool


class WeightedRows:
    """Rows (X, y) of a linear regression with weights: what a check loss is a function of.

    No statistic of fixed size determines a quantile regression, so the rows themselves are the
    statistic. Their sum is their union; a factor multiplies the weights.

    Parameters
    ----------
    X : (n, q), y, weight : (n,)
    """

    def __init__(self, X, y, weight):
        self._parts: list[tuple[Any, ...]] = [(X, y, weight)]
        self._found: tuple[Any, ...] | None = None

    def __add__(self, other):
        union = WeightedRows.__new__(WeightedRows)
        union._parts, union._found = [*self._parts, *other._parts], None
        return union

    def arrays(self):
        """X (n, q), y (n,) and weights (n,) of all rows, one after another."""
        if len(self._parts) > 1:
            self._parts = [tuple(np.concatenate(part) for part in zip(*self._parts, strict=True))]
        return tuple(np.ascontiguousarray(part, dtype=float) for part in self._parts[0])

    def minimum(self, above, below, start) -> Minimum:
        """The exact minimum of the loss, reached from ``start`` (q,); see `minimise`."""
        start = np.ascontiguousarray(start, dtype=float)
        asked = above, below, start.tobytes()
        if self._found is None or self._found[0] != asked:
            coef, loss, settled, _ = minimise(*self.arrays(), float(above), float(below), start)
            self._found = asked, Minimum(coef, loss, settled)
        return self._found[1]

    def loss_and_score(self, above, below, coef):
        """Loss at ``coef``, and an element of the subdifferential of its negative (q,).

        Rows on the plane, to rounding, pull neither way.
        """
        X, y, weight = self.arrays()
        residual = y - X @ coef
        residual[np.abs(residual) <= NEAR * np.abs(y).max(initial=0.0)] = 0.0
        slope = above * (residual > 0) - below * (residual < 0)
        return float(weight @ (slope * residual)), X.T @ (weight * slope)
