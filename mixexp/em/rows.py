"""`Rows`: what travels with the rows, as one value; and the designs made of a block of them."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy import sparse

from ..scaling import Scaling, blocks, design, moments

__all__ = ["Rows", "Scaling", "blocks", "design", "standardisation"]


class Rows(NamedTuple):
    """All row-wise inputs of a fit.

    Attributes
    ----------
    X : (n, p) ndarray or scipy CSR
    y : (n, m) float64
        Targets; class codes for a classification family (m = 1).
    weight, offset, trials : (n,) float64 or None
    """

    X: np.ndarray | sparse.csr_array
    y: np.ndarray
    weight: np.ndarray | None = None
    offset: np.ndarray | None = None
    trials: np.ndarray | None = None

    @property
    def n(self) -> int:
        return self.X.shape[0]

    @property
    def total_weight(self) -> float:
        return float(self.n if self.weight is None else self.weight.sum())

    def take(self, index) -> Rows:
        """The rows of a slice or of an index array."""
        weight, offset, trials = (None if part is None else part[index] for part in self[2:])
        return Rows(self.X[index], self.y[index], weight, offset, trials)


def standardisation(rows: Rows, scale_target: bool) -> Scaling:
    """Weighted means and standard deviations, merged block by block (no copy of X is made)."""
    p, m = rows.X.shape[1], rows.y.shape[1]
    x_mean, x_scale = moments(rows.X, rows.weight)
    if sparse.issparse(rows.X):
        x_mean = np.zeros(p)
    y_mean, y_scale = np.zeros(m), np.ones(m)
    if scale_target:
        # what the offset explains says nothing about the scale of the experts
        y = rows.y if rows.offset is None else rows.y - rows.offset[:, None]
        y_mean, y_scale = moments(y, rows.weight)
    return Scaling(x_mean, x_scale, y_mean, np.where(np.isinf(y_scale), 1.0, y_scale))
