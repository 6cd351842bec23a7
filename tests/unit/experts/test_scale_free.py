"""A penalty on slopes in units of the experts' standard deviations."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose

from mixexp import (
    EM,
    L1,
    L2,
    MCP,
    ElasticNet,
    GaussianExpert,
    GroupLasso,
    MoERegressor,
    MultiStart,
)
from mixexp.em.engines import MemoryEngine
from mixexp.em.params import stack, take

PENALTIES = {
    "l1": L1(0.2),
    "weights": L1(0.2, weights=[0.0, 1.0, 2.0]),
    "elastic_net": ElasticNet(0.3, l1_ratio=0.6),
    "mcp": MCP(0.3, gamma=4),
}
every = pytest.mark.parametrize("penalty", PENALTIES.values(), ids=PENALTIES.keys())


def sample(seed=0, n=120):
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n, 3))
    side = X[:, 0] > 0
    noise = np.where(side, 0.2, 1.0) * rng.standard_normal(n)
    return X, np.where(side, 4 + 2 * X[:, 1], -4 - X[:, 2]) + noise, side


def problem(penalty, tied_scale=False):
    X, y, side = sample()
    expert = GaussianExpert(penalty=penalty, scale_free=True, tied_scale=tied_scale)
    model, rows = MoERegressor(2, expert=expert)._prepare(X, y, None)
    resp = np.where(np.column_stack([~side, side]), 0.8, 0.2)
    return model, rows, take(model.from_responsibilities(rows, resp[None]), 0)


def objective(model, rows, params):
    batch = stack([params])
    loglik = MemoryEngine(rows, model).run(model, batch).loglik[0] / rows.total_weight
    return float(loglik - model.penalty(batch)[0])


@pytest.mark.parametrize("tied_scale", [False, True], ids=["own", "tied"])
@every
def test_the_gradient_is_that_of_finite_differences(penalty, tied_scale):
    model, rows, params = problem(penalty, tied_scale)
    # away from zero slopes, where the penalty has a derivative
    coef = params.expert.coef + 0.3
    params = params._replace(expert=params.expert._replace(coef=coef))
    result = MemoryEngine(rows, model).run(model, stack([params]))
    gradient = model.gradient(stack([params]), result.statistics)[0]
    vector, h = model.pack(stack([params]))[0], 1e-6
    first = params.gate.coef.size
    for i in range(first, len(vector)):
        if tied_scale and i >= len(vector) - 2:
            continue  # a tied scale moves both: the next test
        up, down = vector.copy(), vector.copy()
        up[i] += h
        down[i] -= h
        values = [
            objective(model, rows, take(model.unpack(v[None], stack([params])), 0))
            for v in (up, down)
        ]
        assert_allclose(gradient[i], (values[0] - values[1]) / (2 * h), atol=2e-6)


@pytest.mark.parametrize("tied_scale", [False, True], ids=["own", "tied"])
@every
def test_the_m_step_of_the_scale_is_the_maximiser(penalty, tied_scale):
    """At the fixed point of M-steps under fixed responsibilities no other scale is better."""
    model, rows, params = problem(penalty, tied_scale)
    X, y, _ = sample()
    resp = model.responsibilities(params, rows)
    for _ in range(300):
        stats = model.statistics(params, rows, resp).statistics
        params = take(model.m_step(stack([params]), stack([stats])), 0)
    design, target = model.expert_design(rows.X), model.scaling.target(rows.y)

    def surrogate(expert):
        density = model.expert.log_density(expert, design, target, None, None)
        cost = model.expert.penalty_value(take(stack([expert]), slice(0, 1)))[0]
        return (resp * density).sum() / len(y) - cost

    best = surrogate(params.expert)
    which = [slice(None)] if tied_scale else [0, 1]
    for k in which:
        for factor in (0.9, 0.999, 1.001, 1.1):
            sigma = params.expert.dispersion.copy()
            sigma[k] *= factor
            assert surrogate(params.expert._replace(dispersion=sigma)) < best


@every
def test_the_objective_never_falls(penalty):
    model, rows, params = problem(penalty)
    result = EM(max_passes=200).run(model, stack([params]), MemoryEngine(rows, model))
    path = np.array(result.path)[:, 0]
    assert np.all(np.diff(path) >= -1e-10 * (1 + np.abs(path[1:])))


def test_the_targets_unit_does_not_matter():
    X, y, side = sample()
    expert = GaussianExpert(penalty=L1(0.2), scale_free=True)
    one, other = (MoERegressor(2, expert=expert, start=side).fit(X, z) for z in (y, 5 - 1000 * y))
    assert_allclose(other.coef_, -1000 * one.coef_, rtol=1e-3, atol=1e-2)
    assert_allclose(other.dispersion_, 1000 * one.dispersion_, rtol=1e-4)


def test_a_strength_means_the_same_in_experts_of_any_scale():
    """Two experts far apart, the second's rows those of the first times 0.1: slopes in units of
    the standard deviation agree."""
    rng = np.random.default_rng(1)
    X = rng.standard_normal((100, 3))
    z = 2 * X[:, 1] + rng.standard_normal(100)
    both = np.concatenate([X, X])
    y = np.concatenate([100 + z, -100 + 0.1 * z])
    labels = np.repeat([0, 1], 100)
    options = {"n_experts": 2, "gate": "constant", "start": labels, "solver": EM(tol=1e-13)}
    free, plain = (
        MoERegressor(
            expert=GaussianExpert(penalty=L1(alpha), scale_free=flag, min_scale=1e-6), **options
        ).fit(both, y)
        for flag, alpha in ((True, 0.1), (False, 10.0))
    )
    ratio = free.coef_ / free.dispersion_[:, None]
    assert_allclose(ratio[0], ratio[1], atol=1e-3)
    ratio = plain.coef_ / plain.dispersion_[:, None]
    assert np.abs(ratio[0] - ratio[1]).max() > 0.01


@pytest.mark.parametrize("penalty", [None, L2(0.1), GroupLasso(0.1)], ids=["none", "l2", "group"])
def test_it_needs_a_sparse_penalty_of_single_slopes(penalty):
    X, y, _ = sample()
    expert = GaussianExpert(penalty=penalty, scale_free=True)
    with pytest.raises(ValueError, match="needs a sparse penalty of single slopes"):
        MoERegressor(2, expert=expert, start=MultiStart(0.1)).fit(X, y)
