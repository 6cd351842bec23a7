"""Blocks and the canonical table where rows form groups."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy import sparse

from mixexp.em.rows import Rows
from mixexp.em.starts.grouping import LEAST, LONGEST
from mixexp.em.starts.table import canonical_table, compact, count_distinct, hash_rows, sample


def panel(rng, sizes, weight=None):
    n = sum(sizes)
    X, y = rng.standard_normal((n, 2)), rng.standard_normal((n, 1))
    codes = np.repeat(np.arange(len(sizes)), sizes)
    return Rows(X, y, None if weight is None else np.repeat(weight, sizes), group=codes)


def shuffled(rows, rng):
    """Groups in another order and under other labels, and rows in another order inside them."""
    label = rng.permutation(rows.n_units)[rows.spread(np.arange(rows.n_units))]
    order = np.lexsort((rng.random(rows.n), label))
    return rows._replace(group=label).take(order)


def same(one, other):
    for a, b in zip(one, other, strict=True):
        if a is not None:
            assert_array_equal(a, b)


def test_units(rng):
    rows = panel(rng, [2, 1, 3], np.array([1.0, 2.0, 0.5]))
    assert rows.n_units == 3 and rows.total_weight == 3.5
    assert_array_equal(rows.first, [0, 2, 3])
    assert_array_equal(rows.unit_X, rows.X[[0, 2, 3]])
    values = np.arange(6.0)
    assert_array_equal(rows.unit_sums(values), [1, 2, 12])
    assert_array_equal(rows.spread(np.array([5, 6, 7])), [5, 5, 6, 7, 7, 7])
    assert_array_equal(rows.once(np.array([5.0, 6, 7])), [5, 0, 6, 7, 0, 0])
    assert rows.counted_units == 3.5 and rows.counted_rows == 6.0
    plain = rows._replace(group=None, weight=None)
    assert plain.n_units == plain.total_weight == 6
    assert_array_equal(plain.unit_sums(values), values)


@pytest.mark.parametrize("size", [1, 4, 7, 1000])
def test_blocks_end_where_groups_end(rng, size):
    sizes = [3, 1, 1, 9, 2, 5, 1]
    rows = panel(rng, sizes)
    found = rows.blocks(size)
    assert_array_equal(np.concatenate([np.arange(22)[b] for b in found]), np.arange(22))
    ends = np.cumsum(sizes)
    assert all(block.stop in ends for block in found)
    assert all(block.stop - block.start < size + 9 for block in found)


def test_the_table_does_not_depend_on_order_or_labels(rng):
    rows = panel(rng, list(rng.integers(1, 6, 60)), rng.uniform(1, 2, 60))
    for size in (1000, 40):
        one, other = (canonical_table(own, size, 3) for own in (rows, shuffled(rows, rng)))
        same(one.rows, other.rows)
        assert_array_equal(one.key, other.key)
    same(compact(rows), compact(shuffled(rows, rng)))


def test_equal_groups_are_merged_and_equal_rows_of_a_group_are_not(rng):
    rows = panel(rng, [2, 3, 2])
    doubled = rows.take([0, 0, 1, 1, 2, 3, 4, 5, 6])  # every row of the first group twice
    assert compact(doubled).n == 9 and count_distinct(doubled, 100) == 3
    again = rows.take(np.r_[0:7, 1, 0])._replace(group=np.r_[rows.group, 9, 9])
    merged = compact(again)
    assert merged.n == 7 and count_distinct(again, 100) == 3
    assert_array_equal(np.sort(merged.unit_weight), [1, 1, 2])
    weighted = rows._replace(weight=np.array([2.0, 2, 1, 1, 1, 1, 1]))
    same(merged, compact(weighted))


def test_a_group_is_not_its_rows_apart(rng):
    rows = panel(rng, [2, 2])
    apart = rows._replace(group=np.arange(4))
    assert len(np.intersect1d(canonical_table(rows, 99, 0).key, hash_rows(rows))) == 0
    assert count_distinct(apart, 100) == 4


def test_groups_of_weight_zero_are_left_out(rng):
    rows = panel(rng, [2, 3, 1], np.array([1.0, 0.0, 2.0]))
    table = canonical_table(rows, 100, 0)
    assert table.rows.n_units == 2 and table.rows.total_weight == 3 and table.rows.n == 3


def test_samples_hold_whole_short_groups_and_parts_of_long_ones(rng):
    short = panel(rng, [5] * 1000)
    table = canonical_table(short, 500, 0)
    assert not table.complete and table.rows.n_units == 100 and table.rows.n == 500
    assert_array_equal(table.rows.unit_sums(np.ones(500)), np.full(100, 5.0))
    assert_allclose(table.rows.total_weight, 1000)
    assert (table.size, table.row_size) == (100, 500)
    long = panel(rng, [300] * 80)
    table = canonical_table(long, 500, 0)
    lengths = table.rows.unit_sums(np.ones(table.rows.n))
    assert table.rows.n_units == LEAST and set(lengths) == {LONGEST}
    known = {row.tobytes() for row in long.X}
    assert all(row.tobytes() in known for row in table.rows.X)
    few = canonical_table(panel(rng, [300] * 5), 500, 0)
    assert few.rows.n_units == 5 and few.rows.n == 500
    smaller = sample(table, 200, 1)
    assert smaller.rows.n_units == LEAST and smaller.rows.n == table.rows.n


def test_a_sample_of_groups_is_unbiased(rng):
    rows = panel(rng, [4] * 200, np.where(np.arange(200) < 5, 40.0, 1.0))
    value = rows.unit_sums(rows.X[:, 0])
    truth = rows.unit_weight @ value
    table, found = canonical_table(rows, 5000, 0), []
    for seed in range(300):
        part = sample(table, 240, seed).rows
        found.append(part.unit_weight @ part.unit_sums(part.X[:, 0]))
    assert abs(np.mean(found) - truth) < 4 * np.std(found) / np.sqrt(300)


def test_sparse_and_dense_groups_have_one_table(rng):
    rows = panel(rng, [3, 2, 4])
    dense = rows._replace(X=np.where(rows.X > 0, rows.X, 0.0))
    other = dense._replace(X=sparse.csr_array(dense.X))
    one, two = canonical_table(dense, 100, 0), canonical_table(other, 100, 0)
    assert_array_equal(one.key, two.key)
    assert_array_equal(one.rows.X, two.rows.X)
