"""The canonical table: the weighted sample, free of the order and repetition of its rows.

Every row gets a 64-bit hash of its values. Rows with equal values are merged and their weights
added; the merged rows are sorted by hash. Whatever is computed from this table is therefore a
function of the weighted sample: bit for bit the same for any order of the rows, and the same for
weight 2 as for a row that stands there twice. Randomness is keyed by (seed, the row's hash).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy import sparse

from ..rows import Rows, blocks

FEW_ROWS = 2000  # distinct rows below which a fit runs on the table itself
DENSE = 4_000_000  # entries up to which the table of a sparse sample is made dense
_GOLDEN = np.uint64(0x9E3779B97F4A7C15)


class Table(NamedTuple):
    """Distinct rows in canonical order.

    Attributes
    ----------
    rows : Rows
        With weights; they sum to the weight of the whole sample.
    key : (m,) uint64
        Hashes of the rows.
    complete : bool
        False where the table is a sample of the distinct rows.
    size : float
        How many units the table amounts to: in a complete table the total weight (at least the
        number of rows), in a sample at most its rows. Sizes of experts are judged in these.
    """

    rows: Rows
    key: np.ndarray
    complete: bool
    size: float

    @property
    def weight(self) -> np.ndarray:
        """(m,) weights of the distinct rows; a table always has them."""
        assert self.rows.weight is not None
        return self.rows.weight


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


def count_distinct(rows: Rows, enough: int) -> int:
    """Number of distinct rows of positive weight; ``enough`` where there are at least so many."""
    seen: set[int] = set()
    for block in blocks(rows.n, 2 * enough):
        part = rows.take(block)
        key = hash_rows(part)
        seen.update((key if part.weight is None else key[part.weight > 0]).tolist())
        if len(seen) >= enough:
            return enough
    return len(seen)


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


def canonical_table(rows: Rows, table_size: int, seed: int) -> Table:
    """Merge equal rows, sort by hash, and `sample` when there are more than ``table_size``.

    Rows of weight zero are left out.
    """
    index, merged, key = _merged(rows)
    counted = rows.n if rows.weight is None else np.count_nonzero(rows.weight)
    units = max(float(merged.sum()), float(counted))
    if len(index) <= table_size:
        return Table(_taken(rows, index, merged), key, True, units)
    keep, sampled = _priority_sample(merged, keyed_uniform(key, seed), table_size)
    size = min(units, float(table_size))
    return Table(_taken(rows, index[keep], sampled), key[keep], False, size)


def compact(rows: Rows) -> Rows:
    """The rows of the complete canonical table where they are few, else the rows as they are.

    A fit of few rows is thus the same, bit for bit, for every order of them, and for a weight of 2
    as for the row twice: also where only rounding decides, as in a sample that is all separated.
    """
    if count_distinct(rows, FEW_ROWS) == FEW_ROWS:
        return rows
    index, merged, _ = _merged(rows)
    return rows.take(index)._replace(weight=merged)


def _merged(rows):
    """Positions of the distinct rows of positive weight, their summed weights and their hashes."""
    key = hash_rows(rows)
    weight = np.ones(rows.n) if rows.weight is None else rows.weight
    order = np.argsort(key) if rows.weight is None else np.lexsort((weight, key))
    order = order[weight[order] > 0]
    sorted_key = key[order]
    first = np.flatnonzero(np.concatenate([[True], sorted_key[1:] != sorted_key[:-1]]))
    return order[first], np.add.reduceat(weight[order], first), sorted_key[first]


def sample(table: Table, size: int, seed: int) -> Table:
    """A smaller table of the same total weight, drawn by weight; the table itself if it is small.

    A priority sample (Duffield, Lund and Thorup, 2007, J. ACM 54, article 32): row i with weight
    w_i and a keyed uniform u_i has priority w_i / u_i; the rows with the highest priorities are
    kept and weigh max(w_i, tau), where tau is the next priority. Sums over the sample then
    estimate sums over the table without bias; the weights are scaled to the same total.
    """
    if len(table.key) <= size:
        return table
    keep, weight = _priority_sample(table.weight, keyed_uniform(table.key, seed), size)
    return Table(
        _taken(table.rows, keep, weight), table.key[keep], False, min(table.size, float(size))
    )


def _taken(rows, index, weight):
    taken = rows.take(index)
    return taken._replace(X=_table_matrix(taken.X), weight=weight)


def _table_matrix(X):
    """The table's columns: where small, dense, since thousands of short passes follow."""
    if not sparse.issparse(X):
        return np.ascontiguousarray(X)
    return X.toarray() if X.shape[0] * X.shape[1] <= DENSE else X


def _priority_sample(weight, uniform, size):
    """Positions (ascending) of the kept rows, and their weights."""
    priority = weight / uniform
    order = np.argsort(-priority, kind="stable")
    keep = np.sort(order[:size])
    kept = np.maximum(weight[keep], priority[order[size]])
    return keep, kept * (weight.sum() / kept.sum())
