"""Keys of rows: hashes of their values, and random numbers that are functions of a key."""

from __future__ import annotations

import functools

import numpy as np
from scipy import sparse

from ..rows import Rows, blocks

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)


def mix(bits):
    """SplitMix64's finaliser of an array (Steele, Lea and Flood, 2014, OOPSLA 49, 453-472)."""
    z = np.atleast_1d(np.asarray(bits, dtype=np.uint64))
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))


def keyed_uniform(key, seed: int):
    """(m,) numbers in (0, 1), a function of (seed, key) alone."""
    salt = mix(np.array([seed % 2**64], dtype=np.uint64) * _GOLDEN + _GOLDEN)
    return ((mix(key ^ salt) >> np.uint64(11)).astype(np.float64) + 0.5) * 2.0**-53


@functools.singledispatch
def hash_rows(rows: Rows):
    """(n,) uint64: a hash of every row's values; the weight is not among them.

    Values enter as float64 with -0.0 = 0.0, and a zero adds nothing, so that a sparse row and its
    dense copy have the same hash. A missing offset equals an offset of zero. Rows of different
    priors of the experts differ.
    """
    keys = column_keys(rows)
    of_X = keys[: rows.X.shape[1]]
    return combined(rows, keys, lambda block: _hash_matrix(rows.X[block], of_X))


def column_keys(rows: Rows):
    """uint64 keys of the columns of X, of y, of offset and trials, and of the prior."""
    columns = rows.X.shape[1] + rows.y.shape[1]
    columns += 2 + (0 if rows.prior is None else rows.prior.shape[1])
    return mix((np.arange(columns, dtype=np.uint64) + np.uint64(1)) * _GOLDEN)


def combined(rows: Rows, keys, hashes_of_X):
    """The hashes of rows, from those of their columns of X, block by block."""
    p, m = rows.X.shape[1], rows.y.shape[1]
    out = np.empty(rows.n, dtype=np.uint64)
    for block in blocks(rows.n):
        total = hashes_of_X(block) + _hash_dense(rows.y[block], keys[p : p + m])
        for extra, key in ((rows.offset, keys[p + m]), (rows.trials, keys[p + m + 1])):
            if extra is not None:
                total = total + _hash_values(extra[block], key)
        if rows.prior is not None:
            total = total + _hash_dense(rows.prior[block], keys[p + m + 2 :])
        out[block] = mix(total)
    return out


def _hash_values(values, key):
    bits = (np.ascontiguousarray(values, dtype=np.float64) + 0.0).view(np.uint64)
    return mix(bits ^ key) - mix(key)


def _hash_dense(A, keys):
    return _hash_values(A, keys).sum(axis=1, dtype=np.uint64)


def _hash_matrix(A, keys):
    if not sparse.issparse(A):
        return _hash_dense(A, keys)
    A = A.tocsr()
    running = np.zeros(A.nnz + 1, dtype=np.uint64)
    np.cumsum(_hash_values(A.data, keys[A.indices]), out=running[1:])  # wraps around
    return running[A.indptr[1:]] - running[A.indptr[:-1]]
