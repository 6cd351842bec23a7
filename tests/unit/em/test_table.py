"""The canonical table is a function of the weighted sample."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy import sparse

from mixexp.em.rows import Rows
from mixexp.em.starts.table import (
    canonical_table,
    compact,
    compact_means,
    count_distinct,
    hash_rows,
    keyed_uniform,
    sample,
)


@pytest.fixture
def rows(rng):
    X = rng.integers(-3, 4, (200, 3)) / 2.0
    return Rows(
        X, rng.integers(0, 3, (200, 1)).astype(float), None, rng.standard_normal(200).round(1)
    )


def same(a, b):
    for one, other in zip(a.rows, b.rows, strict=True):
        if one is not None:
            assert_array_equal(one, other)


def test_hash_sees_values_not_their_representation(rows):
    key = hash_rows(rows)
    negative_zero = np.where(rows.X == 0, -0.0, rows.X)
    assert_array_equal(hash_rows(rows._replace(X=negative_zero)), key)
    assert_array_equal(hash_rows(rows._replace(X=sparse.csr_array(rows.X))), key)
    assert_array_equal(hash_rows(rows._replace(X=rows.X.astype(np.float32))), key)


def test_hash_tells_columns_and_inputs_apart():
    base = Rows(np.array([[1.0, 2.0]]), np.array([[3.0]]))
    others = [
        base._replace(X=base.X[:, ::-1]),
        base._replace(y=base.y + 1),
        base._replace(offset=np.ones(1)),
        base._replace(trials=np.full(1, 4.0)),
    ]
    keys = {int(hash_rows(one)[0]) for one in [base, *others]}
    assert len(keys) == 5
    assert hash_rows(base._replace(offset=np.zeros(1))) == hash_rows(base)


def test_order_of_rows_does_not_matter(rows, rng):
    order = rng.permutation(rows.n)
    same(canonical_table(rows, 1000, 0), canonical_table(rows.take(order), 1000, 0))
    same(canonical_table(rows, 50, 0), canonical_table(rows.take(order), 50, 0))


def test_weights_equal_repetition(rows, rng):
    weight = rng.integers(0, 4, rows.n)
    weighted = rows._replace(weight=weight.astype(float))
    repeated = rows.take(np.repeat(np.arange(rows.n), weight))
    for size in (1000, 50):
        a, b = canonical_table(weighted, size, 3), canonical_table(repeated, size, 3)
        same(a, b)
        assert a.size == b.size


def test_table_keeps_the_total_weight(rows):
    table = canonical_table(rows, 1000, 0)
    assert table.complete
    assert table.rows.total_weight == 200
    small = canonical_table(rows, 40, 0)
    assert not small.complete
    assert small.rows.n == 40 and small.size == 40
    assert_allclose(small.rows.total_weight, 200)


def test_sample_is_unbiased(rng):
    X = rng.standard_normal((300, 1))
    weight = np.where(np.arange(300) < 5, 100.0, 1.0)
    table = canonical_table(Rows(X, X, weight), 1000, 0)
    truth = weight @ X[:, 0] / weight.sum()
    means = []
    for seed in range(300):
        part = sample(table, 60, seed).rows
        means.append(part.weight @ part.X[:, 0] / part.weight.sum())
    assert abs(np.mean(means) - truth) < 4 * np.std(means) / np.sqrt(300)


def test_uniforms_are_keyed_by_seed_and_row(rows):
    key = np.unique(hash_rows(rows))
    u = keyed_uniform(key, 0)
    assert_array_equal(keyed_uniform(key[::-1], 0)[::-1], u)
    assert not np.array_equal(keyed_uniform(key, 1), u)
    assert 0 < u.min() and u.max() < 1
    assert abs(u.mean() - 0.5) < 4 / np.sqrt(12 * len(u))


def test_distinct_rows_are_counted_once_whatever_their_order_and_weight(rng):
    X, y = rng.standard_normal((50, 3)), rng.standard_normal((50, 1))
    index = rng.permutation(np.repeat(np.arange(50), 4))
    weight = np.concatenate([np.zeros(10), np.ones(40)])
    rows = Rows(X, y)
    assert count_distinct(rows, 1000) == 50
    assert count_distinct(rows.take(index), 1000) == 50
    assert count_distinct(rows._replace(weight=weight), 1000) == 40
    assert count_distinct(rows._replace(weight=7.0 * weight), 1000) == 40
    assert count_distinct(rows.take(index), 20) == 20


@pytest.mark.parametrize("grouped", [False, True])
def test_values_of_equal_units_are_averaged_by_weight(rows, grouped):
    rows = rows.take(np.r_[0:100, 0:100])._replace(offset=None)
    first, second = np.arange(200), np.random.default_rng(0).permutation(200)
    parts, units = [], 200
    if grouped:
        units, second = 40, np.arange(200).reshape(40, 5)[::-1].ravel()
    weight = np.random.default_rng(1).integers(0, 3, units).astype(float)
    values = np.random.default_rng(2).dirichlet(np.ones(3), units)
    size = 200 // units
    for order in (first, second):
        part = rows._replace(weight=np.repeat(weight, size)).take(order)
        if grouped:
            part = part._replace(group=np.repeat(np.arange(units), size))
        parts.append((part, values[order[::size] // size]))
    (one, its), (other, others) = parts
    table, means = compact(one), compact_means(one, its)
    assert means.shape == (table.n_units, 3)
    assert_allclose(table.unit_weight @ means, weight @ values)
    assert_allclose(compact_means(other, others), means, rtol=1e-12)
    labels = np.eye(3)[np.zeros(units, dtype=int)]
    assert_array_equal(compact_means(one, labels), labels[: len(means)])
