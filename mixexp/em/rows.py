"""`Rows`: what travels with the rows, as one value; and the designs made of a block of them."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy import sparse


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
        return Rows(*(None if part is None else part[index] for part in self))


class Scaling(NamedTuple):
    """Standardisation inside a fit: x -> (x - x_centre) / x_scale; y likewise.

    A constant column has scale ``inf``: it becomes zero and its coefficient stays zero.
    """

    x_centre: np.ndarray
    x_scale: np.ndarray
    y_centre: np.ndarray
    y_scale: np.ndarray

    @classmethod
    def identity(cls, p: int, m: int) -> Scaling:
        return cls(np.zeros(p), np.ones(p), np.zeros(m), np.ones(m))

    def target(self, y):
        return (y - self.y_centre) / self.y_scale


BLOCK = 8192


def blocks(n: int, size: int = BLOCK):
    """Slices of fixed size, so that results never depend on the number of threads."""
    return [slice(start, min(start + size, n)) for start in range(0, n, size)]


def design(X, columns, scaling: Scaling):
    """Standardised columns of a block of rows, behind a column of ones: (rows, 1 + len(columns)).

    A sparse block is scaled but not centred, and stays sparse.
    """
    scale = scaling.x_scale[columns]
    if sparse.issparse(X):
        scaled = X[:, columns].astype(np.float64) @ sparse.diags_array(1 / scale)
        return sparse.hstack([np.ones((X.shape[0], 1)), scaled], format="csr")
    out = np.empty((X.shape[0], len(columns) + 1))
    out[:, 0] = 1
    np.divide(X[:, columns] - scaling.x_centre[columns], scale, out=out[:, 1:])
    return out


def standardisation(rows: Rows, scale_target: bool) -> Scaling:
    """Weighted means and standard deviations, merged block by block (no copy of X is made)."""
    p, m = rows.X.shape[1], rows.y.shape[1]
    x_mean, x_scale = _moments(rows.X, rows.weight)
    if sparse.issparse(rows.X):
        x_mean = np.zeros(p)
    y_mean, y_scale = _moments(rows.y, rows.weight) if scale_target else (np.zeros(m), np.ones(m))
    return Scaling(x_mean, x_scale, y_mean, np.where(np.isinf(y_scale), 1.0, y_scale))


def _moments(A, weight):
    """Weighted column means and standard deviations of an (n, p) array, ``inf`` where constant."""
    total, mean, square = 0.0, np.zeros(A.shape[1]), np.zeros(A.shape[1])
    for block in blocks(A.shape[0]):
        part = A[block]
        w = np.ones(part.shape[0]) if weight is None else weight[block]
        mass = w.sum()
        if mass == 0:
            continue
        if sparse.issparse(part):
            part = part.astype(np.float64)
            part_mean = (part.T @ w) / mass
            part_square = (part.power(2).T @ w) - mass * part_mean**2
        else:
            part = np.asarray(part, dtype=np.float64)
            part_mean = w @ part / mass
            part_square = w @ (part - part_mean) ** 2
        # Chan, Golub and LeVeque (1983): pairwise update of means and sums of squares
        difference = part_mean - mean
        merged = total + mass
        mean = mean + difference * (mass / merged)
        square = square + part_square + difference**2 * (total * mass / merged)
        total = merged
    scale = np.sqrt(np.maximum(square, 0) / total)
    constant = scale <= 1e-13 * np.abs(mean)
    return mean, np.where(constant | (scale == 0), np.inf, scale)
