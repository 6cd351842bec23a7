"""Working sets: the same stationary point as the driver's on all columns."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose

from mixexp import L1, GaussianExpert, MoERegressor, SoftmaxGate
from mixexp.em import working_set
from mixexp.em.driver import EM
from mixexp.em.engines import MemoryEngine
from mixexp.em.params import stack, take, tree_map
from mixexp.em.status import Status
from mixexp.em.working_set import Columns
from mixexp.penalties import MCP, GroupLasso

SOLVER = EM(max_passes=3000, tol=1e-13, gradient_tol=1e-8)
PENALTIES = {
    "l1": L1(0.1),
    "weights": L1(0.1, weights=np.r_[0.0, np.ones(13), 0.5]),
    "mcp": MCP(0.1, gamma=4),
    "groups": GroupLasso(0.1, groups=[[1, 2, 3], [5, 9]]),
}


def problem(penalty, scale_free=False, weighted=False):
    """A model of 15 columns, its rows, and a start near the truth whose noise slopes are zero."""
    rng = np.random.default_rng(0)
    X = rng.standard_normal((120, 15))
    second = rng.random(120) < 1 / (1 + np.exp(-4 * X[:, 0]))
    y = np.where(second, -2 - 2 * X[:, 1], 2 + 2 * X[:, 1]) + 0.5 * rng.standard_normal(120)
    expert = GaussianExpert(penalty=penalty, scale_free=scale_free)
    template = MoERegressor(2, gate=SoftmaxGate(penalty=L1(0.05)), expert=expert)
    weight = rng.uniform(0.2, 2, 120) if weighted else None
    model, rows = template._prepare(X, y, weight)
    resp = np.where(np.column_stack([~second, second]), 0.9, 0.1)
    start = take(model.from_responsibilities(rows, resp[None]), 0)
    nothing = Columns(np.zeros(15, bool), np.zeros(15, bool))
    working = working_set.closure(model, nothing)
    return model, rows, start, working


@pytest.mark.parametrize("scale_free", [False, True], ids=["plain", "scale_free"])
@pytest.mark.parametrize("name", PENALTIES)
def test_the_run_is_that_of_the_driver_on_all_columns(name, scale_free):
    if name == "groups" and scale_free:
        pytest.skip("scale_free takes penalties of single slopes")
    model, rows, start, working = problem(PENALTIES[name], scale_free, weighted=name == "l1")
    few = working_set.restricted_params(start, working)
    sparse = working_set.expanded_params(few, working)
    found = working_set.run(model, rows, sparse, SOLVER)
    whole = SOLVER.run(model, stack([found.params]), MemoryEngine(rows, model))
    # the driver on all columns finds nothing to improve ...
    assert_allclose(whole.objective[0], found.objective, atol=1e-9)
    assert_allclose(whole.params.expert.coef[0], found.params.expert.coef, atol=1e-5)
    assert whole.certificate[0] <= 1e-7 and found.certificate <= 1e-7
    # ... and ends at the same place from the same start
    again = SOLVER.run(model, stack([start]), MemoryEngine(rows, model))
    same = working_set.run(model, rows, start, SOLVER)
    assert_allclose(same.objective, again.objective[0], atol=1e-6)
    assert_allclose(same.params.gate.coef, again.params.gate.coef[0], atol=1e-4)
    assert_allclose(same.params.expert.coef, again.params.expert.coef[0], atol=1e-4)


def test_the_gradient_of_all_columns_is_that_of_the_statistics():
    model, rows, start, _ = problem(L1(0.1), weighted=True)
    gradient = working_set.all_gradients(model, rows, start)
    result = MemoryEngine(rows, model).run(model, stack([start]))
    total, stats = rows.total_weight, result.statistics
    assert_allclose(gradient.gate, stats.gate.score[0][:, 1:] / total, atol=1e-12)
    sigma = start.expert.dispersion
    expert = stats.expert.score[0][..., 1:] / (total * sigma[..., None] ** 2)
    assert_allclose(gradient.expert, np.moveaxis(expert, 0, 1).reshape(gradient.expert.shape))


def test_parameters_return_from_a_working_set():
    model, _, start, _ = problem(L1(0.1))
    start = tree_map(lambda leaf: leaf + 1.0, start)  # no zeros
    working = Columns(np.arange(15) % 2 == 0, np.arange(15) < 4)
    inner = working_set.restricted_params(start, working)
    back = working_set.expanded_params(inner, working)
    assert_allclose(back.expert.coef[..., 1:5], start.expert.coef[..., 1:5])
    assert not back.expert.coef[..., 5:].any()
    support = working_set.support(model, back)
    assert support.expert.tolist() == working.expert.tolist()
    assert support.gate.tolist() == working.gate.tolist()


def test_unpenalised_columns_and_whole_groups_are_always_inside():
    model, _, _, working = problem(PENALTIES["weights"])
    assert np.flatnonzero(working.expert).tolist() == [0]
    model, _, _, _ = problem(PENALTIES["groups"])
    chosen = working_set.closure(model, Columns(np.zeros(15, bool), np.arange(15) == 2))
    assert np.flatnonzero(chosen.expert).tolist() == [1, 2, 3]


def test_a_run_with_too_many_parameters_is_given_up():
    model, rows, start, working = problem(L1(0.001))
    sparse = working_set.expanded_params(working_set.restricted_params(start, working), working)
    found = working_set.run(model, rows, sparse, SOLVER, max_free=8)
    assert found.status is Status.INTERRUPTED
    assert model.n_free(found.params) > 8
