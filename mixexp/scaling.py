"""Standardisation: columns to mean 0 and standard deviation 1, and coefficients back.

Blocks of rows are standardised one at a time; a fit never copies X.
"""

from __future__ import annotations

import functools
from typing import NamedTuple

import numpy as np
from scipy import sparse

BLOCK = 8192
SMALL = 65536  # entries up to which a sparse block is made dense


def blocks(n: int, size: int = BLOCK):
    """Slices of fixed size, so that results never depend on the number of threads."""
    return [slice(start, min(start + size, n)) for start in range(0, n, size)]


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

    def of(self, columns) -> Scaling:
        """The scaling of some columns."""
        return self._replace(x_centre=self.x_centre[columns], x_scale=self.x_scale[columns])

    def target(self, y):
        return (y - self.y_centre) / self.y_scale


def design(X, columns, scaling: Scaling):
    """Standardised columns of a block of rows, behind a column of ones: (rows, 1 + len(columns)).

    A sparse block is scaled but not centred, and stays sparse unless it is so small that the
    overhead of sparse products outweighs them.
    """
    scale = scaling.x_scale[columns]
    if sparse.issparse(X) and X.shape[0] * len(columns) <= SMALL:
        X, columns, scaling = X[:, columns].toarray(), slice(None), scaling.of(columns)
    if sparse.issparse(X):
        scaled = X[:, columns].astype(np.float64) @ sparse.diags_array(1 / scale)
        return sparse.hstack([np.ones((X.shape[0], 1)), scaled], format="csr")
    out = np.empty((X.shape[0], len(scale) + 1))
    out[:, 0] = 1
    np.divide(X[:, columns] - scaling.x_centre[columns], scale, out=out[:, 1:])
    return out


class Moments(NamedTuple):
    """Weight, weighted means and sums of squared deviations of columns: what blocks add up to."""

    mass: float
    mean: np.ndarray
    square: np.ndarray

    @classmethod
    def of(cls, A, weight) -> Moments:
        """Those of rows, dense or sparse, block by block; ``weight`` (n,) or None."""
        total = cls(0.0, np.zeros(A.shape[1]), np.zeros(A.shape[1]))
        for block in blocks(A.shape[0]):
            total = total.merged(cls._of_block(A[block], None if weight is None else weight[block]))
        return total

    @classmethod
    def _of_block(cls, part, weight) -> Moments:
        w = np.ones(part.shape[0]) if weight is None else weight
        mass = w.sum()
        if mass == 0:
            return cls(0.0, np.zeros(part.shape[1]), np.zeros(part.shape[1]))
        if sparse.issparse(part):
            part = part.astype(np.float64)
            mean = (part.T @ w) / mass
            return cls(mass, mean, (part.power(2).T @ w) - mass * mean**2)
        part = np.asarray(part, dtype=np.float64)
        mean = w @ part / mass
        return cls(mass, mean, w @ (part - mean) ** 2)

    def merged(self, other: Moments) -> Moments:
        """Those of both: the pairwise update of Chan, Golub and LeVeque (1983)."""
        if other.mass == 0 or self.mass == 0:
            return self if other.mass == 0 else other
        difference = other.mean - self.mean
        mass = self.mass + other.mass
        return Moments(
            mass,
            self.mean + difference * (other.mass / mass),
            self.square + other.square + difference**2 * (self.mass * other.mass / mass),
        )

    def mean_and_scale(self):
        """(p,) means and standard deviations, ``inf`` where constant."""
        scale = np.sqrt(np.maximum(self.square, 0) / self.mass)
        constant = scale <= 1e-13 * np.abs(self.mean)
        return self.mean, np.where(constant | (scale == 0), np.inf, scale)


class Products(NamedTuple):
    """Weight, weighted means and sums of products of deviations of some columns: what blocks add
    up to.

    columns (q,): their positions in X; mean (q,); square (q, q).
    """

    columns: np.ndarray
    mass: float
    mean: np.ndarray
    square: np.ndarray

    @classmethod
    def of(cls, X, columns, weight) -> Products:
        """Those of rows of positive weight, block by block; ``weight`` (n,) or None."""
        parts = (
            cls._of_block(X[b][:, columns], columns, None if weight is None else weight[b])
            for b in blocks(X.shape[0])
        )
        return functools.reduce(cls.merged, parts)

    @classmethod
    def _of_block(cls, A, columns, weight) -> Products:
        w = np.ones(len(A)) if weight is None else weight
        A = np.asarray(A, dtype=np.float64)
        mean = w @ A / w.sum()
        centred = A - mean
        return cls(columns, w.sum(), mean, centred.T @ (w[:, None] * centred))

    def merged(self, other: Products) -> Products:
        """Those of both: the pairwise update of Chan, Golub and LeVeque (1983)."""
        difference = other.mean - self.mean
        mass = self.mass + other.mass
        between = np.outer(difference, difference) * (self.mass * other.mass / mass)
        return Products(
            self.columns,
            mass,
            self.mean + difference * (other.mass / mass),
            self.square + other.square + between,
        )

    def gram(self, columns, scaling: Scaling) -> np.ndarray:
        """(1 + len(columns),) * 2 Gram matrix of the standardised `design` of some of them."""
        at = np.searchsorted(self.columns, columns)
        scale = scaling.x_scale[columns]
        mean = np.concatenate([[1.0], (self.mean[at] - scaling.x_centre[columns]) / scale])
        out = self.mass * np.outer(mean, mean)
        out[1:, 1:] += self.square[np.ix_(at, at)] / np.outer(scale, scale)
        return out


class ColumnSummary:
    """What stands for X where the rows are elsewhere: moments of its columns, and its first rows.

    It is indexed as X is, by columns or by a slice of the first rows, and has no other rows.
    """

    def __init__(self, moments: Moments, head: np.ndarray, n: int):
        self.moments, self.head, self.n = moments, head, n

    @property
    def shape(self):
        return self.n, len(self.moments.mean)

    def __getitem__(self, key):
        if isinstance(key, tuple) and key[0] == slice(None):
            own = self.moments._replace(
                mean=self.moments.mean[key[1]], square=self.moments.square[key[1]]
            )
            return ColumnSummary(own, self.head[:, key[1]], self.n)
        if isinstance(key, slice) and not key.start and min(key.stop, self.n) <= len(self.head):
            return self.head[key]
        raise IndexError("Only columns and the first rows are known of rows that are elsewhere.")


def moments(A, weight):
    """Weighted column means and standard deviations of an (n, p) array, ``inf`` where constant."""
    if isinstance(A, ColumnSummary):
        return A.moments.mean_and_scale()
    return Moments.of(A, weight).mean_and_scale()


def rescale_linear(coef, columns, old: Scaling, new: Scaling):
    """Linear coefficients (..., q), intercept first, from one standardisation of X to another."""
    with np.errstate(invalid="ignore"):
        slopes = coef[..., 1:] / old.x_scale[columns]
        moved = np.nan_to_num(slopes * new.x_scale[columns], nan=0.0, posinf=0.0, neginf=0.0)
    intercept = coef[..., 0] + slopes @ (new.x_centre[columns] - old.x_centre[columns])
    return np.concatenate([intercept[..., None], moved], axis=-1)
