"""Engine ``gpu`` on the twin of its arrays: the passes of the memory engine, and what they move."""

from __future__ import annotations

import sys

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from mixexp import EM
from mixexp.em import device
from mixexp.em.device import GPU, DeviceMatrix, DeviceRows, array_module, hash_columns
from mixexp.em.engines import GpuEngine, MemoryEngine, engine_for
from mixexp.em.params import concatenate, tree_map
from mixexp.em.rows import Rows, columns_with_density, design_gram, standardisation
from mixexp.em.starts.keys import hash_rows
from mixexp.em.starts.table import canonical_table, count_distinct
from mixexp.kernels import gpu
from tests.contracts.cases import batch, links, model_of, problem, some_params
from tests.device_twin import DeviceTwin, on_device

PAIRS = [
    (gate, family, link)
    for gate in ("softmax", "constant")
    for family in ("gaussian", "poisson", "binomial", "gamma", "multinomial")
    for link in links(family)
]
VARIANTS = {
    "plain": lambda rows, rng: rows,
    "weighted": lambda rows, rng: rows._replace(weight=rng.uniform(0, 2, rows.n)),
    "offset": lambda rows, rng: rows._replace(offset=0.1 * rng.standard_normal(rows.n)),
    "columns first": lambda rows, rng: rows._replace(X=np.asfortranarray(rows.X)),
    "every other column": lambda rows, rng: rows._replace(X=np.repeat(rows.X, 2, axis=1)[:, ::2]),
}


def streamed(rows, **settings):
    return DeviceRows(DeviceMatrix(rows.X, GPU(stream=True, **settings)), *rows[1:])


def two_sets(model, rows):
    return concatenate([batch(some_params(model, rows, seed)) for seed in (1, 2)])


def assert_same_pass(one, other, rtol=1e-12):
    def close(a, b):
        assert a.shape == b.shape and a.dtype == b.dtype
        assert_allclose(a, b, rtol=rtol, atol=rtol * max(1.0, np.abs(b).max(initial=0)))

    tree_map(close, one, other)


@pytest.mark.parametrize("gate, family, link", PAIRS)
def test_passes_are_those_in_memory(xp, gate, family, link):
    case = problem(gate, family, link, n=300)
    model = model_of(case, K=3)
    params = two_sets(model, case.rows)
    engine = engine_for(on_device(xp, case.rows), model)
    assert isinstance(engine, GpuEngine)
    assert_same_pass(engine.run(model, params), MemoryEngine(case.rows, model).run(model, params))


@pytest.mark.parametrize("variant", VARIANTS)
def test_passes_of_any_rows(xp, variant):
    case = problem("softmax", "gaussian", n=300, p=3)
    rows = VARIANTS[variant](case.rows, np.random.default_rng(4))
    model = model_of(case._replace(rows=rows), K=3)
    params = two_sets(model, rows)
    engine = GpuEngine(on_device(xp, rows), model)
    assert_same_pass(engine.run(model, params), MemoryEngine(rows, model).run(model, params))


@pytest.mark.parametrize("dtype, rtol", [(np.float64, 1e-12), (np.float32, 3e-6)])
def test_many_columns_and_few_experts(xp, dtype, rtol):
    """Gram matrices of weighted columns, in three blocks whose designs are made anew."""
    case = problem("softmax", "gaussian", n=9000, p=24)
    rows = case.rows._replace(X=case.rows.X.astype(dtype))
    model = model_of(case._replace(rows=rows), K=2)
    params = two_sets(model, rows)
    expected = MemoryEngine(rows, model).run(model, params)
    for memory in (10**9, 6_000_000):
        engine = GpuEngine(on_device(xp, rows, memory=memory), model)
        assert not engine.kernel.blocks.gate.by_products
        assert engine.kernel.blocks.kept == (memory == 10**9)
        assert_same_pass(engine.run(model, params), expected, rtol)


def test_gate_and_experts_of_different_columns(xp):
    case = problem("softmax", "poisson", n=300, p=4)
    model = model_of(case, K=3)._replace(
        gate_columns=np.array([2, 0]), expert_columns=np.array([3, 1, 0])
    )
    params = two_sets(model, case.rows)
    engine = GpuEngine(on_device(xp, case.rows), model)
    assert_same_pass(engine.run(model, params), MemoryEngine(case.rows, model).run(model, params))


def test_float32_rows_give_the_sums_that_matter_in_float64(xp):
    """Products for Gram matrices are float32; everything that a fixed point depends on is not."""
    case = problem("softmax", "gaussian", n=5000, p=4)
    rows = case.rows._replace(X=case.rows.X.astype(np.float32))
    model = model_of(case._replace(rows=rows), K=3)
    params = two_sets(model, rows)
    found = GpuEngine(on_device(xp, rows), model).run(model, params)
    exact = MemoryEngine(rows, model).run(model, params)
    assert_same_pass(found, exact, rtol=3e-6)
    rest = [
        result._replace(
            statistics=result.statistics._replace(
                gate=result.statistics.gate._replace(pairs=np.zeros(1)),
                expert=result.statistics.expert._replace(gram=np.zeros(1)),
            )
        )
        for result in (found, exact)
    ]
    assert_same_pass(*rest)


@pytest.mark.parametrize("n", [300, 9000])
@pytest.mark.parametrize("sets", [1, 2])
def test_a_pass_moves_parameters_up_and_statistics_down(twin, n, sets):
    case = problem("softmax", "binomial", n=n)
    model = model_of(case, K=3)
    params = tree_map(lambda leaf: leaf[:sets], two_sets(model, case.rows))
    engine = GpuEngine(on_device(twin, case.rows), model)
    twin.clear()
    result = engine.run(model, params)
    K, q, T = 3, 3, 6
    assert twin.up == [8 * sets * (2 * K * q + 2 * K)]
    # log-likelihood, two entropies, masses and extras; scores; Gram matrices
    assert twin.down == [8 * sets * (3 + 2 * K + 2 * K * q + (K + 3) * T)]
    assert result.loglik.shape == (sets,)


def budget_for(rows, model, tiles, keep):
    """Bytes, X included, in which designs are kept or not and blocks have about so many tiles."""
    K, q, m = model.K, 3, gpu.tile_rows(rows.n)
    T = q * (q + 1) // 2
    design = 8 * (q + T)
    work = 8 * (2 * K + 3 + K) + (2 * K * q + (K + 3) * T) * 8 // m + 1
    padded = -(-rows.n // m) * m
    given = rows.X.nbytes + 32 * rows.n
    if keep:
        return given + padded * design + tiles * m * work
    return given + int((tiles + 0.5) * m * (work + design))


@pytest.mark.parametrize("tiles, keep", [(3, True), (2, False), (1, False)])
def test_blocks_are_sized_to_the_memory(xp, tiles, keep):
    case = problem("softmax", "gaussian", n=9000)
    rows = case.rows._replace(weight=np.random.default_rng(1).uniform(0, 2, 9000))
    model = model_of(case._replace(rows=rows), K=3)
    params = two_sets(model, rows)
    engine = GpuEngine(on_device(xp, rows, memory=budget_for(rows, model, tiles, keep)), model)
    blocks = engine.kernel.blocks
    assert blocks.kept == keep and blocks.size == tiles * gpu.TILE
    assert_same_pass(engine.run(model, params), MemoryEngine(rows, model).run(model, params))


def test_memory_that_is_given_includes_X(twin):
    case = problem("softmax", "gaussian", n=9000)
    model = model_of(case, K=3)
    needed = budget_for(case.rows, model, 3, True)
    for memory, kept in ((needed, True), (needed - case.rows.X.nbytes // 2, False)):
        blocks = GpuEngine(on_device(twin, case.rows, memory=memory), model).kernel.blocks
        assert blocks.kept == kept


def test_every_pass_of_a_run_moves_one_array_up_and_one_down(twin):
    case = problem("softmax", "gaussian", n=9000)
    model = model_of(case, K=3)
    memory = budget_for(case.rows, model, 1, False)  # whatever designs are made anew
    engine = GpuEngine(on_device(twin, case.rows, memory=memory), model)
    moved = []
    twin.clear()

    def count(state):
        moved.append((len(twin.up), len(twin.down), sum(twin.up), sum(twin.down)))

    EM(max_passes=5, tol=0).run(model, batch(some_params(model, case.rows)), engine, callback=count)
    assert [one[:2] for one in moved] == [(i, i) for i in range(1, 6)]
    assert len({(up / i, down / i) for i, _, up, down in moved}) == 1


def test_streamed_rows_move_once_a_pass(twin):
    case = problem("softmax", "gaussian", n=9000)
    model = model_of(case, K=3)
    params = two_sets(model, case.rows)
    memory = budget_for(case.rows, model, 1, False) - case.rows.X.nbytes + 8 * 2 * gpu.TILE
    engine = GpuEngine(streamed(case.rows, memory=memory), model)
    twin.clear()
    assert_same_pass(engine.run(model, params), MemoryEngine(case.rows, model).run(model, params))
    assert sum(twin.up[1:]) == case.rows.X.nbytes and len(twin.up) == 1 + 3
    assert len(twin.down) == 1


def test_too_little_memory_is_an_error(twin):
    case = problem("softmax", "gaussian", n=9000)
    model = model_of(case, K=3)
    with pytest.raises(ValueError, match=r"GiB of the device .* engine=GPU\(stream=True\)"):
        GpuEngine(on_device(twin, case.rows, memory=400_000), model)
    with pytest.raises(ValueError, match=r"fewer columns or experts, or engine='memory'\.$"):
        GpuEngine(streamed(case.rows, memory=400_000), model)


def test_memory_that_others_took_is_named(twin, monkeypatch):
    case = problem("softmax", "gaussian")
    model = model_of(case)
    engine = GpuEngine(on_device(twin, case.rows), model)

    def full(*shape, **kwargs):
        raise MemoryError("Out of memory allocating 512 bytes")

    monkeypatch.setattr(twin, "empty", full)
    with pytest.raises(MemoryError, match=r"GPU\(memory=\.\.\.\).*allocating 512 bytes"):
        engine.run(model, batch(some_params(model, case.rows)))


@pytest.mark.parametrize("gate, family", [("gaussian", "gaussian"), ("softmax", "student")])
def test_pairs_without_a_pass_are_refused_by_name(twin, gate, family):
    case = problem(gate, family)
    model = model_of(case)
    names = f"{type(case.gate).__name__} over {type(case.expert).__name__}.*engine='memory'"
    with pytest.raises(ValueError, match=names):
        GpuEngine(on_device(twin, case.rows), model)


def test_parameters_of_another_shape_are_refused(twin):
    case = problem("softmax", "gaussian")
    model = model_of(case)
    engine = GpuEngine(on_device(twin, case.rows), model)
    other = model_of(problem("softmax", "gaussian", p=3))
    params = batch(some_params(other, problem("softmax", "gaussian", p=3).rows))
    with pytest.raises(ValueError, match="coefficients of 4 and 4 columns for designs of 3 and 3"):
        engine.run(model, params)


@pytest.mark.parametrize("gate, family, link", PAIRS)
def test_runs_are_those_in_memory(xp, gate, family, link):
    """Parameters and path of a run from one start; rounding alone tells the engines apart."""
    case = problem(gate, family, link, n=300)
    model = model_of(case)
    start = batch(model.from_responsibilities(case.rows, np.eye(2)[case.labels()][None]))
    start = tree_map(lambda leaf: leaf[0], start)
    solver = EM(max_passes=12)
    twin_run = solver.run(model, start, GpuEngine(on_device(xp, case.rows), model))
    run = solver.run(model, start, MemoryEngine(case.rows, model))
    assert_allclose(np.array(twin_run.path), np.array(run.path), rtol=1e-9)
    tree_map(lambda a, b: assert_allclose(a, b, rtol=1e-6, atol=1e-6), twin_run.params, run.params)


def test_rows_come_back_block_by_block(xp):
    case = problem("softmax", "gaussian", n=300)
    rows = on_device(xp, case.rows)
    assert_array_equal(rows.take(slice(10, 20)).X, case.rows.X[10:20])
    assert_array_equal(rows.take(np.array([5, 2])).X, case.rows.X[[5, 2]])
    with pytest.raises(TypeError, match="without being asked"):
        np.asarray(rows.X)
    with pytest.raises(TypeError, match="take rows first"):
        rows.X[:, 0]
    keys = np.arange(1, 3, dtype=np.uint64)
    assert_array_equal(hash_columns(rows.X, keys), hash_columns(streamed(case.rows).X, keys))


def test_missing_cupy_driver_or_version_are_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "cupy", None)
    with pytest.raises(ImportError, match=r"pip install 'mixexp\[gpu12\]'"):
        array_module()
    twin = DeviceTwin(available=False)
    monkeypatch.setitem(sys.modules, "cupy", twin)
    with pytest.raises(RuntimeError, match="no CUDA device"):
        array_module()
    twin.__version__ = "13.6.0"
    with pytest.raises(ImportError, match=r"CuPy 14 or later; got 13\.6\.0"):
        array_module()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_scales_and_gram_matrices_are_those_in_memory(xp, dtype, monkeypatch):
    monkeypatch.setattr(device, "ENTRIES", 300)
    rng = np.random.default_rng(0)
    X = rng.normal(3, 2, size=(400, 4)).astype(dtype)
    X[:, 2] = 7  # no variance
    rows = Rows(X, rng.normal(size=(400, 1)), rng.uniform(0, 2, 400))
    on_it = on_device(xp, rows)
    for one, other in zip(on_it.x_moments(), rows.x_moments(), strict=True):
        assert_allclose(one, other, rtol=1e-13)
    columns, scaling = np.array([3, 0]), standardisation(rows, False)
    expected = design_gram(rows, columns, scaling)
    assert_allclose(design_gram(on_it, columns, scaling), expected, rtol=1e-12, atol=1e-11)
    assert_array_equal(
        columns_with_density(on_it, np.arange(4), True), columns_with_density(rows, range(4), True)
    )


def test_keys_and_distinct_rows_are_those_in_memory(xp):
    rng = np.random.default_rng(0)
    X = rng.integers(0, 3, size=(500, 3)).astype(float)
    X[::7] *= -1.0  # zeros of both signs
    trials, weight = rng.integers(1, 3, 500).astype(float), rng.integers(0, 2, 500).astype(float)
    rows = Rows(X, rng.integers(0, 2, (500, 1)).astype(float), weight, None, trials)
    on_it = on_device(xp, rows)
    assert_array_equal(hash_rows(on_it), hash_rows(rows))
    for enough in (20, 1000):
        assert count_distinct(on_it, enough) == count_distinct(rows, enough)
    table, expected = (canonical_table(one, 40, 1) for one in (on_it, rows))
    assert_array_equal(table.key, expected.key)
    assert_array_equal(table.rows.X, expected.rows.X)
