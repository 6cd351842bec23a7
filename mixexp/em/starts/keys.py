"""Keys of rows: hashes of their values, and random numbers that are functions of a key."""

from __future__ import annotations

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


def hash_rows(rows: Rows):
    """(n,) uint64: a hash of every row's values; the weight is not among them.

    Values enter as float64 with -0.0 = 0.0, and a zero adds nothing, so that a sparse row and its
    dense copy have the same hash. A missing offset equals an offset of zero. Rows of different
    priors of the experts differ.
    """
    p, m = rows.X.shape[1], rows.y.shape[1]
    K = 0 if rows.prior is None else rows.prior.shape[1]
    keys = mix((np.arange(p + m + 2 + K, dtype=np.uint64) + np.uint64(1)) * _GOLDEN)
    out = np.empty(rows.n, dtype=np.uint64)
    for block in blocks(rows.n):
        part = rows.take(block)
        total = _hash_matrix(part.X, keys[:p]) + _hash_dense(part.y, keys[p : p + m])
        for extra, key in ((part.offset, keys[p + m]), (part.trials, keys[p + m + 1])):
            if extra is not None:
                total = total + _hash_values(extra, key)
        if part.prior is not None:
            total = total + _hash_dense(part.prior, keys[p + m + 2 :])
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
