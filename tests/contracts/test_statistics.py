"""Laws of the pass: statistics add, scores are derivatives, information is expected curvature."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose

from mixexp.em.params import take, tree_map
from tests.contracts.cases import (
    batch,
    families,
    gates,
    model_of,
    numbers,
    pairs,
    problem,
    some_params,
)


def assert_trees_close(a, b, **tolerances):
    tree_map(lambda x, y: assert_allclose(numbers(x), numbers(y), **tolerances), a, b)


def central_gradient(function, vector, step=1e-6):
    """Central differences, coordinate by coordinate."""
    moves = step * np.eye(len(vector))
    return np.array([(function(vector + d) - function(vector - d)) / (2 * step) for d in moves])


@pairs
@pytest.mark.parametrize("cuts", [[60], [1, 7, 119]], ids=["halves", "blocks"])
def test_statistics_of_blocks_add_to_those_of_the_whole(gate, family, link, cuts):
    case = problem(gate, family, link)
    rows = case.rows._replace(weight=np.random.default_rng(3).uniform(0, 2, case.rows.n))
    model = model_of(case)
    params = some_params(model, rows)
    whole = model.statistics(params, rows)
    pieces = np.split(np.arange(rows.n), cuts)
    total = None
    for piece in pieces:
        part = model.statistics(params, rows.take(piece))
        total = part if total is None else tree_map(np.add, total, part)
    assert_trees_close(total, whole, rtol=1e-10, atol=1e-10)


@pairs
def test_gradient_is_the_derivative_of_the_mean_log_likelihood(gate, family, link):
    case = problem(gate, family, link, n=40)
    model = model_of(case)
    params = some_params(model, case.rows)

    def objective(vector):
        moved = model.unpack(vector, params)
        return model.log_likelihood(moved, case.rows).mean() - model.penalty(batch(moved))[0]

    stats = batch(model.statistics(params, case.rows).statistics)
    gradient = model.gradient(batch(params), stats)[0]
    numeric = central_gradient(objective, model.pack(params))
    assert_allclose(gradient, numeric, rtol=2e-5, atol=1e-7)


@pytest.mark.parametrize("part", ["gate", "expert"])
@pairs
def test_gradient_of_a_penalised_part_includes_its_penalty(gate, family, link, part):
    from mixexp import L2

    case = problem(gate, family, link, n=40)
    owner = case.gate if part == "gate" else case.expert
    if "penalty" not in owner.get_params(deep=False):
        assert "penalty" not in dir(owner) or owner.penalty is None
        return
    owner.set_params(penalty=L2(0.3))
    model = model_of(case)
    params = some_params(model, case.rows)

    def objective(vector):
        moved = model.unpack(vector, params)
        return model.log_likelihood(moved, case.rows).mean() - model.penalty(batch(moved))[0]

    stats = batch(model.statistics(params, case.rows).statistics)
    gradient = model.gradient(batch(params), stats)[0]
    numeric = central_gradient(objective, model.pack(params))
    assert_allclose(gradient, numeric, rtol=2e-5, atol=1e-7)


@gates
def test_gate_probabilities_log_sum_to_zero(gate):
    case = problem(gate, "gaussian")
    model = model_of(case, K=3)
    params = some_params(model, case.rows, spread=3.0)
    log_prob = model.log_gate(params, case.rows.X)
    assert_allclose(np.exp(log_prob).sum(axis=1), 1, rtol=1e-13)


@gates
def test_gate_information_is_the_curvature_of_its_surrogate(gate):
    """With fixed responsibilities the shifted statistics follow the score to second order."""
    case = problem(gate, "gaussian")
    model = model_of(case, K=3)
    params = some_params(model, case.rows, spread=0.5).gate
    X = model.gate_design(case.rows.X)
    resp = np.random.default_rng(2).dirichlet(np.ones(3), len(X))
    weight = np.ones(len(X))
    direction = case.gate.pack(params) * 0 + np.random.default_rng(3).standard_normal(
        case.gate.pack(params).shape
    )
    here = case.gate.statistics(params, X, resp, weight)
    h = 1e-4

    def change(sign):
        moved = case.gate.unpack(case.gate.pack(params) + sign * h * direction, params)
        step = tree_map(np.subtract, moved, params)
        model_score = case.gate.gradient(batch(moved), batch(case.gate.shift(here, step)))
        score = case.gate.gradient(
            batch(moved), batch(case.gate.statistics(moved, X, resp, weight))
        )
        start = case.gate.gradient(batch(params), batch(here))
        return (model_score - start)[0], (score - start)[0]

    forward, backward = change(1), change(-1)
    by_model = (forward[0] - backward[0]) / (2 * h)
    by_score = (forward[1] - backward[1]) / (2 * h)
    assert_allclose(by_model, by_score, rtol=1e-6, atol=1e-8)


def expected_rows(model, params, rows, labels):
    """Rows that carry E[. | x] under expert labels[i] of row i: a grid of y with its weights."""
    expert, pieces = model.expert, []
    for i in range(rows.n):
        row = rows.take(slice(i, i + 1))
        y, mass = target_grid(model, params, row, labels[i])
        pieces.append((np.full(len(y), i), y, mass))
    index, y, mass = (np.concatenate(part) for part in zip(*pieces, strict=True))
    resp = mass[:, None] * np.eye(model.K)[labels[index]]
    grid = rows.take(index)._replace(y=y[:, None])
    assert expert is model.expert
    return grid, resp, mass


def target_grid(model, params, row, k):
    """Points y and weights that integrate against the density of expert k at one row."""
    expert, X = model.expert, model.expert_design(row.X)
    if expert.classifies:
        prob = expert.mean(params.expert, X, None, None)[0, k]
        return np.arange(len(prob), dtype=float), prob
    units = model.scaling
    mean, phi = expert.law(
        params.expert, X, None, row.trials, units._replace(y_centre=np.zeros(1), y_scale=np.ones(1))
    )
    mean, phi = mean[:, k], phi[:, [k]] if phi.ndim == 3 else phi[k]
    trials = None if row.trials is None else row.trials[:, None]
    if expert.discrete:
        top = expert.quantile(1 - 1e-15, mean, trials, phi)[0, 0]
        y = np.arange(min(top, 1e4) + 10)
        mass = expert.cdf(y[:, None], mean, trials, phi) - expert.cdf(
            y[:, None] - 1, mean, trials, phi
        )
        inside = np.ones(len(y), bool) if trials is None else y <= trials[0, 0]
        return y[inside], mass[inside, 0]
    from scipy import special

    z = np.linspace(-7, 7, 401)
    y = expert.quantile(special.ndtr(z)[:, None], mean, trials, phi)[:, 0]
    mass = np.exp(-0.5 * z**2)
    return y, mass / mass.sum()


@families
def test_expected_score_is_zero(family, link):
    case = problem("constant", family, link, n=6)
    model = model_of(case, standardise=False)
    params = some_params(model, case.rows)
    labels = np.arange(6) % 2
    grid, resp, mass = expected_rows(model, params, case.rows, labels)
    stats = model.expert.statistics(
        params.expert, model.expert_design(grid.X), grid.y, resp, mass, None, grid.trials
    )
    gradient = model.expert.gradient(batch(params.expert), batch(stats))
    # the grid of targets does not know where a density has its kink
    assert_allclose(gradient, 0, atol=2e-8 if model.expert.smooth else 1e-4)


@families
def test_information_is_the_expected_negative_hessian(family, link):
    case = problem("constant", family, link, n=6)
    model = model_of(case, standardise=False)
    params, expert = some_params(model, case.rows).expert, model.expert
    grid, resp, mass = expected_rows(model, MoE(params), case.rows, np.arange(6) % 2)
    X = model.expert_design(grid.X)
    rng = np.random.default_rng(5)
    direction = tree_map(np.zeros_like, params)
    coef = rng.standard_normal(params.coef.shape)
    direction = direction._replace(coef=coef - (expert.classifies and coef.mean(1, keepdims=True)))
    here = expert.statistics(params, X, grid.y, resp, mass, None, grid.trials)
    h = 1e-5

    def score(sign, by_model):
        step = tree_map(lambda d: sign * h * d, direction)
        moved = tree_map(np.add, params, step)
        stats = (
            expert.shift(here, params, step)
            if by_model
            else expert.statistics(moved, X, grid.y, resp, mass, None, grid.trials)
        )
        gradient = expert.gradient(batch(moved), batch(stats))[0]
        return gradient[: params.coef.size]

    by_model = (score(1, True) - score(-1, True)) / (2 * h)
    by_score = (score(1, False) - score(-1, False)) / (2 * h)
    assert np.abs(by_score).max() > 1e-3
    assert_allclose(by_model, by_score, rtol=2e-5, atol=1e-6 * np.abs(by_score).max())


def MoE(expert_params):
    """Parameters of a model whose gate is not read."""
    from mixexp.em.params import MoEParams

    return MoEParams(None, expert_params)


@pairs
def test_permuting_the_experts_changes_nothing(gate, family, link):
    case = problem(gate, family, link)
    model = model_of(case, K=3)
    params = some_params(model, case.rows, spread=0.2)
    order = np.array([2, 0, 1])
    permuted = take(params, order)
    assert_allclose(
        model.log_prob(permuted, case.rows), model.log_prob(params, case.rows), rtol=1e-12
    )


@pairs
def test_penalty_does_not_depend_on_the_order_of_the_experts(gate, family, link):
    case = problem(gate, family, link)
    model = model_of(case, K=3)
    params = some_params(model, case.rows, spread=0.2)
    permuted = take(params, np.array([2, 0, 1]))
    assert_allclose(model.penalty(batch(permuted)), model.penalty(batch(params)), rtol=1e-12)


@pairs
def test_pack_and_unpack_are_inverse(gate, family, link):
    case = problem(gate, family, link)
    model = model_of(case, K=3)
    params = some_params(model, case.rows)
    assert_trees_close(model.unpack(model.pack(params), params), params, rtol=1e-13, atol=1e-14)
