"""Kernels of engine ``gpu``: designs and their products, hashes, and the row-wise half of a pass.

All functions take the array module ``xp``, which is CuPy, and arrays of it. The sources are in
`gpu_sources`, their numpy twins in `gpu_twins`; sums over rows are products of matrices by cuBLAS.

Legend: rows of a block, padded to whole tiles of m rows; q columns of a design, the first of ones;
T = q (q + 1) / 2 products of two columns, in the order of packed upper triangles; J left factors.
"""

from __future__ import annotations

import functools
from typing import Any, NamedTuple

import numpy as np

from . import gpu_sources

TILE = 4096  # rows of a product: enough for cuBLAS, and for sums of floats that stay accurate
THREADS = 128  # of a block of threads
LANES = THREADS * 1024  # threads of a kernel at most; what a kernel sums has one part a lane

SOURCES = {
    "standardise_rows": gpu_sources.DESIGNS,
    "column_products": gpu_sources.DESIGNS,
    "weighted_columns": gpu_sources.DESIGNS,
    "hash_rows": gpu_sources.DESIGNS,
    "softmax_glm_rows": gpu_sources.GLM,
    "softmax_multinomial_rows": gpu_sources.MULTINOMIAL,
}
C_NAMES = {np.dtype(np.float32): "float", np.dtype(np.float64): "double"}


class Design(NamedTuple):
    """Standardised columns of a block, and what Gram matrices are made of.

    Attributes
    ----------
    values : (padded, q) float64
    narrow : (padded, q)
        The same in the type of X.
    products : (padded, T) in that type, or None
        Products of two columns; None where Gram matrices are those of weighted columns.
    triangle : (T,) int64
        Places of the packed upper triangle in a flattened (q, q) matrix.
    """

    values: Any
    narrow: Any
    products: Any
    triangle: Any


def by_products(J: int, q: int) -> bool:
    """Whether products of columns move less memory than J weighted copies of the columns do."""
    return q * (q + 1) // 2 + J <= 2 * (J + 1) * q


class Factors(NamedTuple):
    """Left factors (tiles, J, m) of two parts, one behind the other or interleaved tile by tile.

    Attributes
    ----------
    gate, expert : int
        Left factors of each.
    together : bool
        Whether both multiply the same design, so that one product serves.
    """

    gate: int
    expert: int
    together: bool

    def places(self, padded, m):
        """Arguments of a kernel: place and rows of a tile, of the gate and of the experts."""
        if self.together:
            return 0, self.gate + self.expert, self.gate * m, self.gate + self.expert
        return 0, self.gate, padded * self.gate, self.expert

    def sums(self, flat, padded, m, gate: Design, expert: Design, multiply):
        """``multiply(left (tiles, J, m), design)`` of gate and experts: (J, ...) each."""
        tiles = padded // m
        if self.together:
            both = multiply(flat.reshape(tiles, -1, m), expert)
            return both[: self.gate], both[self.gate :]
        split = padded * self.gate
        left = flat[:split].reshape(tiles, self.gate, m), flat[split:].reshape(tiles, -1, m)
        return multiply(left[0], gate), multiply(left[1], expert)


def _score_sums(xp, left, design):
    """sum_i left_ij x_i, (J, q)."""
    return _product(xp, left, design.values)


def _gram_sums(xp, left, design):
    """sum_i left_ij x_i x_i', as packed upper triangles (J, T)."""
    tiles, J, m = left.shape
    if J == 0:
        return xp.zeros((0, len(design.triangle)))
    if design.products is not None:
        return _product(xp, left, design.products)
    q = design.values.shape[1]
    weighted = xp.empty((tiles, J * q, m), dtype=left.dtype)
    arguments = (design.values, left, tiles * m, q, m, J, weighted)
    _run(xp, "weighted_columns", tiles * m, arguments, REAL=C_NAMES[np.dtype(left.dtype)])
    full = _product(xp, weighted, design.narrow).reshape(J, q * q)
    return xp.take(full, design.triangle, axis=1)


def _product(xp, left, right):
    """sum_i left_ij right_ia of tiles (tiles, J, m) and rows (padded, columns): float64."""
    tiles, J, m = left.shape
    if J == 0:
        return xp.zeros((0, right.shape[1]))
    each = xp.matmul(left, right.reshape(tiles, m, -1))
    return each.sum(axis=0, dtype=np.float64)


def tile_rows(n: int) -> int:
    """Rows m of a tile for blocks of n rows: a function of n alone."""
    return min(TILE, max(32, -(-n // 32) * 32))


@functools.cache
def _kernel(xp, name: str, macros: tuple):
    options = tuple(f"-D{key}={value}" for key, value in macros)
    return xp.RawKernel(SOURCES[name], name, options)


def _run(xp, name, count, arguments, **macros):
    """One launch over ``count`` rows or entries."""
    grid = _lanes(count) // THREADS
    _kernel(xp, name, tuple(sorted(macros.items())))((grid,), (THREADS,), arguments)


def _lanes(count):
    """Threads of a launch over ``count`` rows or entries."""
    return max(1, min(-(-count // THREADS), LANES // THREADS)) * THREADS


def _strides(X):
    return tuple(step // X.itemsize for step in X.strides)


def standardised(xp, X, columns, centre, inverse_scale, padded):
    """(padded, q) columns of X (n, p) standardised behind ones; zero behind the rows."""
    q = len(columns) + 1
    design = xp.empty((padded, q))
    arguments = (X, *_strides(X), columns, centre, inverse_scale, X.shape[0], padded, q, design)
    _run(xp, "standardise_rows", padded * q, arguments, REAL=C_NAMES[X.dtype])
    return design


def column_products(xp, design, left, right, dtype):
    """(padded, T) products of the columns ``left`` and ``right`` (T,) of a design."""
    (padded, q), T = design.shape, len(left)
    products = xp.empty((padded, T), dtype=dtype)
    arguments = (design, left, right, padded, q, T, products)
    _run(xp, "column_products", padded * T, arguments, REAL=C_NAMES[np.dtype(dtype)])
    return products


def hashes(xp, X, keys):
    """(n,) uint64 sums of the hashes of the values of a row, one key (p,) for every column."""
    n, p = X.shape
    out = xp.empty(n, dtype=np.uint64)
    _run(xp, "hash_rows", n, (X, *_strides(X), keys, n, p, out), REAL=C_NAMES[X.dtype])
    return out


class RowKernel:
    """The row-wise half of a pass: responsibilities, and what is to be multiplied by designs.

    Parameters
    ----------
    name : {"softmax_glm_rows", "softmax_multinomial_rows"}
    n_sums : int
        Sums over rows of scalars that it returns.
    scores, grams : Factors
        Of the sums of designs and of their products.
    dtype : dtype of the products
    macros : dict
    """

    def __init__(self, xp, name, n_sums, scores: Factors, grams: Factors, dtype, macros):
        self.xp, self.name, self.n_sums = xp, name, n_sums
        self.scores, self.grams = scores, grams
        self.dtype = np.dtype(dtype)
        self.macros = {**macros, "GRAM": C_NAMES[self.dtype]}

    def sums(self, gate: Design, expert: Design, vectors, params, n, m, entropies=False):
        """(n_sums,) scalars, and sums (J, q) and (J, T) of gate and experts, on the device.

        The second and third scalar are the soft and the hard entropy where asked for, else zero.
        """
        xp, padded = self.xp, gate.values.shape[0]
        U = xp.empty(padded * (self.scores.gate + self.scores.expert))
        V = xp.empty(padded * (self.grams.gate + self.grams.expert), dtype=self.dtype)
        partial = xp.empty((self.n_sums, _lanes(padded)))
        arguments = (
            *(gate.values, expert.values, *vectors, params),
            *(n, padded, gate.values.shape[1], expert.values.shape[1], m),
            *(*self.scores.places(padded, m), *self.grams.places(padded, m)),
            *(int(entropies), U, V, partial),
        )
        _run(xp, self.name, padded, arguments, **self.macros)
        scores = functools.partial(_score_sums, xp)
        grams = functools.partial(_gram_sums, xp)
        return (
            partial.sum(axis=1),
            *self.scores.sums(U, padded, m, gate, expert, scores),
            *self.grams.sums(V, padded, m, gate, expert, grams),
        )
