"""Laws of the engine over blocks: a pass is the pass in memory, wherever the rows are cut."""

from __future__ import annotations

import pickle
from itertools import pairwise

import numpy as np
import pytest
from numpy.testing import assert_allclose

from mixexp import BlockDataset
from mixexp.em.blocked import BlockRows
from mixexp.em.engines import BlockEngine, MemoryEngine
from mixexp.em.params import concatenate, tree_map
from mixexp.em.rows import Rows, columns_with_density, design_gram, standardisation
from mixexp.em.starts.table import canonical_table
from tests.contracts.cases import batch, model_of, pairs, problem, some_params

CUTS = [0, 7, 8, 250, 511, 600]


def as_rows(block):
    return Rows(block.X, block.y, block.weight, block.offset, block.trials)


def cut(rows: Rows, classifies=False, cuts=CUTS, columns=()) -> BlockRows:
    """The rows as blocks of unequal sizes."""
    parts = rows._asdict()
    given = {name: parts[name] for name in ("X", "y", "weight", "offset", "trials")}
    given = {name: values for name, values in given.items() if values is not None}
    blocks = [{name: a[i:j] for name, a in given.items()} for i, j in pairwise(cuts)]
    return BlockRows(BlockDataset(blocks), as_rows, classifies, columns=columns)


def assert_equal_to_rounding(one, other):
    def close(a, b):
        size = np.abs(b, where=np.isfinite(b), out=np.zeros(np.shape(b))).max(initial=0)
        assert_allclose(a, b, rtol=1e-12, atol=1e-12 * max(1.0, size))

    tree_map(close, one, other)


@pairs
def test_passes_over_blocks_are_passes_in_memory(gate, family, link):
    case = problem(gate, family, link, n=600)
    if case.expert.keeps_rows:
        return  # refused over blocks: the rows are the statistics
    weight = np.random.default_rng(4).uniform(0.2, 2, 600)
    rows = case.rows._replace(weight=weight)
    model = model_of(case._replace(rows=rows), K=3)
    params = concatenate([batch(some_params(model, rows, seed)) for seed in (1, 2)])
    blocks = cut(rows, case.expert.classifies)
    engine = pickle.loads(pickle.dumps(model)), BlockEngine(blocks, model)
    found = engine[1].run(engine[0], params)
    assert_equal_to_rounding(found, MemoryEngine(rows, model).run(model, params))


def test_the_pass_does_not_depend_on_the_number_of_threads():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(40_000, 2))
    case = problem("softmax", "gaussian")._replace(rows=Rows(X, X[:, :1] ** 2))
    model = model_of(case)
    params = batch(some_params(model, case.rows))
    blocks = cut(case.rows, cuts=[0, 3, 39_000, 40_000])
    results = [BlockEngine(blocks, model, n).run(model, params) for n in (1, 3)]
    tree_map(np.testing.assert_array_equal, *results)


@pytest.mark.parametrize("columns", [[], [0, 1, 2, 3, 4]])
def test_what_is_asked_of_all_rows_is_the_same(columns):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(600, 3)) * [1e-6, 1, 1e7] + [1, -5, 1e8]
    X = np.column_stack([X, X[:, 1] - X[:, 0], np.full(600, 0.1)])
    y, weight = rng.normal(size=(600, 2)), rng.uniform(0.1, 3, 600)
    rows = Rows(X, y, weight, rng.normal(size=600))
    blocks = cut(rows, columns=np.array(columns, dtype=int))
    assert_equal_to_rounding(standardisation(blocks, True), standardisation(rows, True))
    for independent in (False, True):
        kept = columns_with_density(blocks, np.arange(5), independent)
        assert kept.tolist() == columns_with_density(rows, np.arange(5), independent).tolist()
    some, scaling = np.array([4, 2, 0]), standardisation(rows, True)
    gram = design_gram(rows, some, scaling)
    assert_allclose(design_gram(blocks, some, scaling), gram, rtol=1e-9, atol=1e-9 * gram[0, 0])
    assert (blocks.n_units, blocks.n_positive) == (rows.n_units, rows.n_positive)
    for name in ("total_weight", "counted_units", "counted_rows"):
        assert_allclose(getattr(blocks, name), getattr(rows, name), rtol=1e-14)
    assert_allclose(blocks.target.spread, rows.target.spread, rtol=1e-12)
    assert_allclose(blocks.target.mean, rows.target.mean, rtol=1e-12)
    assert blocks.target.largest == rows.target.largest


def test_tables_are_the_same_with_repeated_rows():
    rng = np.random.default_rng(0)
    some = rng.integers(0, 300, 600)
    X, y = rng.normal(size=(300, 2))[some], rng.normal(size=(300, 1))[some]
    rows = Rows(X, y, rng.uniform(0.1, 3, 600))
    blocks = cut(rows)
    for size, seed in ((1000, 0), (50, 0), (50, 1)):
        ours, theirs = canonical_table(blocks, size, seed), canonical_table(rows, size, seed)
        np.testing.assert_array_equal(ours.key, theirs.key)
        np.testing.assert_array_equal(ours.rows.X, theirs.rows.X)
        assert_allclose(ours.weight, theirs.weight, rtol=1e-13)
        assert (ours.complete, ours.size) == (theirs.complete, theirs.size)
