"""Laws of the memory engine: the fused kernel, the composed pass and the numpy twin agree."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose

from mixexp import EM
from mixexp.em.engines import MemoryEngine
from mixexp.em.engines.fused import KERNELS
from mixexp.em.params import concatenate, take, tree_map
from mixexp.em.rows import Rows
from mixexp.kernels import reference
from tests.contracts.cases import (
    batch,
    interior_problem,
    model_of,
    numbers,
    pairs,
    problem,
    some_params,
)

VARIANTS = {
    "plain": lambda rows, rng: rows,
    "weighted": lambda rows, rng: rows._replace(weight=rng.uniform(0, 2, rows.n)),
    "offset": lambda rows, rng: rows._replace(offset=0.1 * rng.standard_normal(rows.n)),
    "float32": lambda rows, rng: rows._replace(X=rows.X.astype(np.float32)),
    "columns first": lambda rows, rng: rows._replace(X=np.asfortranarray(rows.X)),
    "strided": lambda rows, rng: rows._replace(X=np.repeat(rows.X, 2, axis=1)[:, ::2]),
    "read-only": lambda rows, rng: rows._replace(X=_read_only(rows.X), y=_read_only(rows.y)),
}


def _read_only(array):
    copy = array.copy()
    copy.setflags(write=False)
    return copy


def assert_same_pass(first, second, rtol=1e-10):
    def close(a, b):
        a, b = numbers(a), numbers(b)
        assert_allclose(a, b, rtol=rtol, atol=rtol * max(1.0, np.abs(b).max(initial=0)))

    tree_map(close, first, second)


@pytest.mark.parametrize("variant", VARIANTS)
@pairs
def test_fused_and_composed_passes_agree(gate, family, link, variant):
    case = problem(gate, family, link, n=600)
    rows = VARIANTS[variant](case.rows, np.random.default_rng(4))
    if rows.offset is not None and "offset" not in getattr(case.expert, "takes", ()):
        return
    model = model_of(case, K=3)
    params = concatenate([batch(some_params(model, rows, seed)) for seed in (1, 2)])
    fused = MemoryEngine(rows, model)
    composed = MemoryEngine(rows, model, fused=False)
    has_kernel = (case.gate.kernel, case.expert.kernel) in KERNELS
    assert (fused.kernel is not None) == has_kernel and composed.kernel is None
    assert_same_pass(fused.run(model, params), composed.run(model, params))


@pairs
def test_the_pass_equals_its_numpy_twin(gate, family, link):
    case = problem(gate, family, link, n=300)
    if case.gate.kernel is None or case.expert.kernel != "glm":
        return  # other kernels have their twins in tests/unit/kernels
    rng = np.random.default_rng(4)
    rows = case.rows._replace(weight=rng.uniform(0, 2, case.rows.n))
    model = model_of(case, K=3)
    params = some_params(model, rows)
    y = model.scaling.target(rows.y)[:, 0]
    trials = np.ones(rows.n) if rows.trials is None else rows.trials
    twin = reference.softmax_glm_pass(
        model.gate_design(rows.X),
        model.expert_design(rows.X),
        y,
        rows.weight,
        np.zeros(rows.n),
        trials,
        case.expert.kernel_code,
        case.expert.link_name,
        params.gate.coef,
        params.expert.coef[:, 0],
        params.expert.dispersion[:, 0],
    )
    result = MemoryEngine(rows, model).run(model, batch(params))
    gate_stats, expert = result.statistics
    row_part = rows.weight @ case.expert.row_part(rows.y, rows.trials)
    row_part -= rows.weight.sum() * np.log(model.scaling.y_scale).sum()
    pairs_of = [
        (result.loglik[0], twin.loglik + row_part),
        (gate_stats.score[0], twin.gate_score),
        (gate_stats.pairs[0], twin.gate_pairs),
        (expert.gram[0, :, 0], twin.gram),
        (expert.score[0, :, 0], twin.score),
        (expert.mass[0], twin.mass),
        (expert.extra[0, :, 0], twin.extra),
    ]
    if not case.expert.has_dispersion:
        pairs_of.pop()
    for ours, theirs in pairs_of:
        assert_allclose(ours, theirs, rtol=1e-10, atol=1e-10 * max(1, np.abs(theirs).max()))


@pairs
def test_weight_two_equals_the_row_twice(gate, family, link):
    case = problem(gate, family, link)
    model = model_of(case)
    params = some_params(model, case.rows)
    weight = np.random.default_rng(0).integers(0, 3, case.rows.n)
    repeated = case.rows.take(np.repeat(np.arange(case.rows.n), weight))
    weighted = case.rows._replace(weight=weight.astype(float))
    results = [MemoryEngine(rows, model).run(model, batch(params)) for rows in (weighted, repeated)]
    assert_same_pass(*results, rtol=1e-11)


def big(n=20000, seed=0):
    """Rows enough for several chunks."""
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n, 2))
    mean = np.where(X[:, 0] > 0, 1 + X[:, 1], -1 - X[:, 1])
    return X, mean + 0.3 * rng.standard_normal(n)


@pytest.mark.parametrize("family", ["gaussian", "multinomial"])
def test_the_pass_does_not_depend_on_the_number_of_threads(family):
    X, y = big()
    if family == "multinomial":
        y = np.digitize(y, [-1.0, 0.0, 1.0]).astype(float)
    case = problem("softmax", family)._replace(rows=Rows(X, y[:, None]))
    model = model_of(case)
    params = batch(some_params(model, case.rows))
    results = [MemoryEngine(case.rows, model, n).run(model, params) for n in (1, 2, 3)]
    for other in results[1:]:
        tree_map(lambda a, b: np.testing.assert_array_equal(a, b), results[0], other)


@pairs
def test_whole_runs_on_both_engines_end_at_the_same_point(gate, family, link):
    case = interior_problem(gate, family, link)
    model = model_of(case)
    labels = np.eye(2)[case.labels()] * 0.8 + 0.1
    start = model.from_responsibilities(case.rows, labels[None])
    ends = []
    for fused in (True, False):
        engine = MemoryEngine(case.rows, model, fused=fused)
        ends.append(EM(max_passes=3000, tol=1e-15, gradient_tol=1e-9).run(model, start, engine))
    first, second = (model.log_prob(take(end.params, 0), case.rows) for end in ends)
    assert_allclose(ends[0].objective, ends[1].objective, rtol=1e-10)
    assert_allclose(first, second, atol=1e-6)
