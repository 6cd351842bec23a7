"""The canonical table: the weighted sample, free of the order and repetition of its rows.

Every row gets a 64-bit hash of its values. Rows with equal values are merged and their weights
added; the merged rows are sorted by hash. Where rows form groups the same is done with groups
(`grouping`). Whatever is computed from this table is therefore a function of the weighted sample:
bit for bit the same for any order of the rows, and the same for weight 2 as for a row (or a group)
that stands there twice. Randomness is keyed by (seed, the row's hash).
"""

from __future__ import annotations

import functools
from typing import Any, NamedTuple

import numpy as np
from scipy import sparse

from ..rows import Rows, blocks
from . import grouping
from .keys import hash_rows, keyed_uniform

FEW_ROWS = 2000  # distinct rows below which a fit runs on the table itself
DENSE = 4_000_000  # entries up to which the table of a sparse sample is made dense


class Table(NamedTuple):
    """Distinct units (rows, or groups of rows) in canonical order.

    Attributes
    ----------
    rows : Rows
        With weights; those of the units sum to the weight of the whole sample.
    key : (m,) uint64
        Hashes of the units.
    complete : bool
        False where the table is a sample of the distinct units.
    size : float
        How many units the table amounts to: in a complete table the total weight (at least the
        number of units), in a sample at most its units. Differences of log-likelihood are judged
        in these.
    row_size : float
        How many rows it amounts to: what sizes of experts are judged in.
    """

    rows: Rows
    key: np.ndarray
    complete: bool
    size: float
    row_size: float

    @property
    def weight(self) -> np.ndarray:
        """(m,) weights of the distinct units; a table always has them."""
        assert self.rows.weight is not None
        return self.rows.unit_weight


@functools.singledispatch
def count_distinct(rows: Rows | Any, enough: int) -> int:
    """Number of distinct units of positive weight; ``enough`` where there are at least so many."""
    if rows.group is not None:
        return min(len(grouping.distinct_groups(rows).key), enough)
    seen: set[int] = set()
    for block in blocks(rows.n, 2 * enough):
        part = rows.part(block)
        key = hash_rows(part)
        seen.update((key if part.weight is None else key[part.weight > 0]).tolist())
        if len(seen) >= enough:
            return enough
    return len(seen)


@functools.singledispatch
def canonical_table(rows: Rows | Any, table_size: int, seed: int) -> Table:
    """Merge equal rows, sort by hash, and `sample` when there are more than ``table_size``.

    Rows of weight zero are left out. Of groups, equal ones are merged.
    """
    if rows.group is not None:
        groups, amounts = grouping.distinct_groups(rows), (rows.counted_units, rows.counted_rows)
        return _grouped(groups, rows, table_size, seed, amounts)
    index, merged, key = _merged(rows)
    units = max(float(merged.sum()), float(rows.n_positive))
    if len(index) <= table_size:
        return Table(_taken(rows, index, merged), key, True, units, units)
    keep, sampled = priority_sample(merged, keyed_uniform(key, seed), table_size)
    size = min(units, float(table_size))
    return Table(_taken(rows, index[keep], sampled), key[keep], False, size, size)


@functools.singledispatch
def compact(rows: Rows | Any) -> Any:
    """The rows of the complete canonical table where they are few, else the rows as they are.

    A fit of few rows is thus the same, bit for bit, for every order of them, and for a weight of 2
    as for the row twice: also where only rounding decides, as in a sample that is all separated.
    Groups are always brought to their canonical order.
    """
    if rows.group is not None:
        return grouping.distinct_groups(rows).of(rows)
    if count_distinct(rows, FEW_ROWS) == FEW_ROWS:
        return rows
    index, merged, _ = _merged(rows)
    return rows.take(index)._replace(weight=merged)


def compact_means(rows: Rows, values):
    """(m, K) means by weight of the units' values (U, K), over the units that `compact` merges."""
    if rows.group is not None:
        order, first = grouping.equal_groups(rows)
    elif count_distinct(rows, FEW_ROWS) == FEW_ROWS:
        return values
    else:
        order, first, _ = _equal_rows(rows)
    weight = np.ones(rows.n_units) if rows.weight is None else rows.unit_weight
    weight, ordered = weight[order], values[order]
    common = ordered[first]  # equal values keep their bits, whatever the weights
    off = ordered - np.repeat(common, np.diff(np.r_[first, len(order)]), axis=0)
    return (
        common
        + np.add.reduceat(weight[:, None] * off, first) / np.add.reduceat(weight, first)[:, None]
    )


def _merged(rows):
    """Positions of the distinct rows of positive weight, their summed weights and their hashes."""
    order, first, sorted_key = _equal_rows(rows)
    weight = np.ones(len(order)) if rows.weight is None else rows.weight[order]
    return order[first], np.add.reduceat(weight, first), sorted_key[first]


def _equal_rows(rows):
    """The rows of positive weight by their hashes, the places where equal ones begin, the hashes.

    Equal rows stand in the order of their weights.
    """
    key = hash_rows(rows)
    if rows.weight is None:
        order = np.argsort(key)
    else:
        order = np.lexsort((rows.weight, key))
        order = order[rows.weight[order] > 0]
    sorted_key = key[order]
    first = np.flatnonzero(np.concatenate([[True], sorted_key[1:] != sorted_key[:-1]]))
    return order, first, sorted_key


def sample(table: Table, size: int, seed: int) -> Table:
    """A smaller table of the same total weight, drawn by weight; the table itself if it is small.

    A priority sample (Duffield, Lund and Thorup, 2007, J. ACM 54, article 32): row i with weight
    w_i and a keyed uniform u_i has priority w_i / u_i; the rows with the highest priorities are
    kept and weigh max(w_i, tau), where tau is the next priority. Sums over the sample then
    estimate sums over the table without bias; the weights are scaled to the same total. Of groups
    so many are kept that they have about ``size`` rows.
    """
    if table.rows.group is not None:
        if table.rows.n <= size:
            return table
        length = np.diff(np.r_[table.rows.first, table.rows.n])
        units = grouping.Units(np.arange(table.rows.n), length, table.weight, table.key)
        return _grouped(units, table.rows, size, seed, (table.size, table.row_size))
    if len(table.key) <= size:
        return table
    keep, weight = priority_sample(table.weight, keyed_uniform(table.key, seed), size)
    amount = min(table.size, float(size))
    return Table(_taken(table.rows, keep, weight), table.key[keep], False, amount, amount)


def _grouped(units, rows, size, seed, amounts) -> Table:
    """The table of groups of rows; a sample of them where they have more than ``size`` rows."""
    complete = len(units.place) <= size
    if not complete:
        units, count = grouping.fewer_rows(units, rows, size, seed)
        if count < len(units.key):
            keep, weight = priority_sample(units.weight, keyed_uniform(units.key, seed), count)
            units = units.take(keep)._replace(weight=weight)
        amounts = min(amounts[0], float(len(units.key))), min(amounts[1], float(len(units.place)))
    taken = units.of(rows)
    taken = taken._replace(X=table_matrix(taken.X))
    return Table(taken, units.key, complete, *amounts)


def _taken(rows, index, weight):
    taken = rows.take(index)
    return taken._replace(X=table_matrix(taken.X), weight=weight)


def table_matrix(X):
    """The table's columns: where small, dense, since thousands of short passes follow."""
    if not sparse.issparse(X):
        return np.ascontiguousarray(X)
    return X.toarray() if X.shape[0] * X.shape[1] <= DENSE else X


def priority_sample(weight, uniform, size, total=None):
    """Positions (ascending) of the kept rows, and their weights.

    ``total`` is the weight of all rows, where those given are only the ones of highest priority.
    """
    total = weight.sum() if total is None else total
    priority = weight / uniform
    order = np.argsort(-priority, kind="stable")
    keep = np.sort(order[:size])
    kept = np.maximum(weight[keep], priority[order[size]])
    return keep, kept * (total / kept.sum())
