"""Laws of a run: the objective never falls, its gradient vanishes, K = 1 needs no gate."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose

from mixexp import EM
from mixexp.em.engines import MemoryEngine
from mixexp.em.params import take
from tests.contracts.cases import batch, interior_problem, model_of, pairs, problem


def run(case, model, *, seed=0, passes=60, callback=None, **settings):
    """A run from one random soft partition of the rows."""
    resp = np.random.default_rng(seed).dirichlet(np.full(model.K, 0.5), case.rows.n)
    start = model.from_responsibilities(case.rows, resp[None])
    engine = MemoryEngine(case.rows, model)
    return EM(max_passes=passes, **settings).run(model, start, engine, callback=callback)


def objective(model, rows, params):
    """Penalised log-likelihood per row, from the densities and not from a pass."""
    return model.log_likelihood(params, rows).mean() - model.penalty(batch(params))[0]


@pytest.mark.parametrize("acceleration", [0, 8], ids=["plain", "accelerated"])
@pairs
def test_the_objective_never_falls(gate, family, link, acceleration):
    case = problem(gate, family, link)
    model = model_of(case, K=3)
    template = batch(model.initial(case.rows))
    values = []

    def watch(state):
        values.append(objective(model, case.rows, take(model.unpack(state.anchor, template), 0)))
        return False

    run(case, model, callback=watch, acceleration=acceleration)
    slack = 1e-10 * (1 + np.abs(values[:-1]))
    # a hard gate that is known leaves nothing hidden: the first M-step may be the last
    assert len(values) > (1 if case.gate.known else 3)
    assert np.all(np.diff(values) >= -slack), np.diff(values).min()


@pairs
def test_the_path_holds_the_objective_of_every_pass(gate, family, link):
    case = problem(gate, family, link)
    model = model_of(case)
    result = run(case, model)
    final = objective(model, case.rows, take(result.params, 0))
    assert_allclose(result.path[-1][0], final, rtol=1e-11)


@pairs
def test_a_converged_run_is_a_stationary_point(gate, family, link):
    case = interior_problem(gate, family, link)
    model = model_of(case)
    labels = np.eye(2)[case.labels()] * 0.8 + 0.1
    start = model.from_responsibilities(case.rows, labels[None])
    engine = MemoryEngine(case.rows, model)
    result = EM(max_passes=3000).run(model, start, engine)
    stats = engine.run(model, result.params).statistics
    gradient = model.gradient(result.params, stats)
    assert result.status[0].converged, result.status[0]
    assert np.abs(gradient).max() <= 1e-6


@pytest.mark.slow
def test_a_maximum_on_the_edge_of_a_link_is_approached_and_not_called_converged():
    """One row holds an expert at p = 1: the gradient is that row's pull against the edge.

    There a maximum satisfies the conditions of Karush, Kuhn and Tucker: the gradient is a positive
    multiple of the gradient of the constraint x' coef <= 0.
    """
    case = problem("softmax", "binomial", "log")
    model = model_of(case)
    labels = np.eye(2)[case.labels()] * 0.8 + 0.1
    start = model.from_responsibilities(case.rows, labels[None])
    engine = MemoryEngine(case.rows, model)
    result = EM(max_passes=300).run(model, start, engine)
    assert not result.status[0].converged
    X = model.expert_design(case.rows.X)
    eta = X @ take(result.params, 0).expert.coef[:, 0].T
    row, k = np.unravel_index(eta.argmax(), eta.shape)
    assert -1e-9 < eta[row, k] <= 0
    stats = engine.run(model, result.params).statistics
    gradient = model.gradient(result.params, stats)[0]
    pull = np.zeros(eta.shape[1] * X.shape[1])
    pull[k * X.shape[1] : (k + 1) * X.shape[1]] = X[row]
    strength = gradient[-len(pull) :] @ pull / (pull @ pull)
    assert strength > 1e-3
    wanted = np.concatenate([np.zeros(len(gradient) - len(pull)), strength * pull])
    assert_allclose(gradient, wanted, atol=1e-5)


@pairs
def test_a_resumed_run_ends_bit_for_bit_where_the_whole_one_does(gate, family, link):
    case = problem(gate, family, link)
    model = model_of(case)
    states = []
    whole = run(case, model, callback=lambda state: states.append(state) and False)
    engine = MemoryEngine(case.rows, model)
    middle = states[len(states) // 2]
    start = model.unpack(middle.anchor, batch(model.initial(case.rows)))
    rest = EM(max_passes=60).run(model, start, engine, state=middle)
    assert np.array_equal(model.pack(rest.params), model.pack(whole.params))
