"""Divergences between experts and between mixtures, and the fits to them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose
from scipy import integrate, stats
from scipy.special import rel_entr

from mixexp import MoEClassifier, MoERegressor
from mixexp.distributed import LocalFit, transport_divergence
from mixexp.distributed.divergence import nearest, relaxed, transportation
from mixexp.distributed.families import FAMILIES
from mixexp.distributed.logit import soft_logit
from mixexp.experts import GaussianExpert, GLMParams, MultinomialExpert, MultinomialParams
from tests.unit.distributed.partitioned import regression


def gaussian(rng, K, m=1, q=3):
    return GLMParams(rng.standard_normal((K, m, q)), rng.uniform(0.5, 2.0, (K, m)))


def multinomial(rng, K, C=3, q=3):
    coef = rng.standard_normal((K, C, q))
    return MultinomialParams(coef - coef.mean(axis=1, keepdims=True))


def make(name, rng, K):
    return gaussian(rng, K) if name == "gaussian" else multinomial(rng, K)


def points(rng, S=20, q=3):
    return np.column_stack([np.ones(S), rng.standard_normal((S, q - 1))])


def gate(rng, S, K):
    return rng.dirichlet(np.ones(K), S)


def test_gaussian_cost_is_the_integral(rng):
    X = points(rng, 3)
    family = FAMILIES["gaussian"]
    one, other = gaussian(rng, 2), gaussian(rng, 2)
    values, reduced = family.values(one, X), family.values(other, X)
    for k in range(2):
        cost = family.cost(values, reduced, k)
        for i, l in np.ndindex(3, 2):
            p = stats.norm(values.mean[i, l, 0], one.dispersion[l, 0])
            r = stats.norm(reduced.mean[i, k, 0], other.dispersion[k, 0])
            integral, _ = integrate.quad(
                lambda y, p=p, r=r: p.pdf(y) * (p.logpdf(y) - r.logpdf(y)),
                *p.interval(1 - 1e-14),
            )
            assert_allclose(cost[i, l], integral, rtol=1e-7)


def test_several_responses_add(rng):
    X, family = points(rng), FAMILIES["gaussian"]
    one, other = gaussian(rng, 3, m=2), gaussian(rng, 2, m=2)

    def cost(j):
        a, b = (GLMParams(e.coef[:, j], e.dispersion[:, j]) for e in (one, other))
        return family.cost(family.values(a, X), family.values(b, X), 1)

    both = family.cost(family.values(one, X), family.values(other, X), 1)
    assert_allclose(both, cost([0]) + cost([1]))


def test_multinomial_cost_is_the_relative_entropy(rng):
    X, family = points(rng), FAMILIES["multinomial"]
    values, reduced = (family.values(multinomial(rng, K), X) for K in (3, 2))
    expected = rel_entr(values.prob, reduced.prob[:, [1]]).sum(axis=2)
    assert_allclose(family.cost(values, reduced, 1), expected, rtol=1e-9, atol=1e-14)


@pytest.mark.parametrize("name", FAMILIES)
def test_nearest_is_the_smallest_cost(rng, name):
    X, family = points(rng), FAMILIES[name]
    values = family.values(make(name, rng, 6), X)
    reduced = family.values(make(name, rng, 4), X)
    all_costs = np.stack([family.cost(values, reduced, k) for k in range(4)], axis=2)
    place, cost = nearest(family, values, reduced, 4)
    assert_allclose(cost, all_costs.min(axis=2))
    assert (place == all_costs.argmin(axis=2)).all()


@pytest.mark.parametrize("name", FAMILIES)
def test_transportation_laws(rng, name):
    X, family = points(rng), FAMILIES[name]
    one, other = make(name, rng, 3), make(name, rng, 3)
    values, others = family.values(one, X), family.values(other, X)
    weight, other_weight = gate(rng, 20, 3), gate(rng, 20, 3)
    assert_allclose(transportation(family, weight, values, weight, values), 0, atol=1e-12)
    exact = transportation(family, weight, values, other_weight, others)
    assert exact >= relaxed(family, weight, values, others, 3) - 1e-12
    # a plan that ignores the costs is no better
    product = sum(
        (weight[:, l] * other_weight[:, k] * family.cost(values, others, k)[:, l]).mean()
        for l in range(3)
        for k in range(3)
    )
    assert exact <= product + 1e-12


def test_transport_of_two_by_two_has_a_closed_form(rng):
    X, family = points(rng), FAMILIES["gaussian"]
    values, others = (family.values(gaussian(rng, 2), X) for _ in range(2))
    a, b = gate(rng, 20, 2), gate(rng, 20, 2)
    c = np.stack([family.cost(values, others, k) for k in range(2)], axis=2)
    # the plan is known from its first entry, and a linear function is smallest at an end
    ends = []
    for t in (np.maximum(0, a[:, 0] - b[:, 1]), np.minimum(a[:, 0], b[:, 0])):
        plan = np.stack([t, a[:, 0] - t, b[:, 0] - t, a[:, 1] - b[:, 0] + t], axis=1)
        ends.append((plan * c.reshape(20, 4)).sum(axis=1))
    expected = np.minimum(*ends).mean()
    assert_allclose(transportation(family, a, values, b, others), expected, rtol=1e-8)


def test_transport_divergence_of_models():
    X, y, z = regression(400, 0)
    one = MoERegressor(4, start=z[:200]).fit(X[:200], y[:200])
    other = LocalFit.of(MoERegressor(3, start=z[200:] % 3).fit(X[200:], y[200:]))
    assert_allclose(transport_divergence(one, one, X), 0, atol=1e-9)
    both = transport_divergence(one, other, X)
    assert 0 < transport_divergence(one, other, X, marginals="first") <= both
    # units of the columns and of the target do not matter
    scaled = MoERegressor(4, start=z[:200]).fit(10 * X[:200] + 1, -3 * y[:200])
    again = LocalFit.of(MoERegressor(3, start=z[200:] % 3).fit(10 * X[200:] + 1, -3 * y[200:]))
    assert_allclose(transport_divergence(scaled, again, 10 * X + 1), both, rtol=1e-3)
    with pytest.raises(ValueError, match="2 columns; the models have 3"):
        transport_divergence(one, other, X[:, :2])
    with pytest.raises(ValueError, match="marginals must be"):
        transport_divergence(one, other, X, marginals="none")


def test_models_that_are_not_comparable_are_refused_both_ways():
    X, y, z = regression(300, 0)
    one = MoERegressor(2, start=z % 2).fit(X, y)
    named = MoERegressor(2, start=z % 2).fit(pd.DataFrame(X, columns=["a", "b", "c"]), y)
    moved = replace(LocalFit.of(named), feature_names=np.array(["b", "a", "c"]))
    others = {
        "family": MoEClassifier(2, start=z % 2).fit(X, y > 0),
        "number of features": MoERegressor(2, start=z % 2).fit(X[:, :2], y),
        "responses": MoERegressor(2, start=z % 2).fit(X, np.column_stack([y, X[:, 0] - y])),
    }
    pairs = [(one, other, what) for what, other in others.items()]
    for left, right, what in [*pairs, (named, moved, "names of the columns")]:
        for a, b in ((left, right), (right, left)):
            with pytest.raises(ValueError, match=f"differ in {what}"):
                transport_divergence(a, b, X)
    fewer = MoERegressor(2, start=z % 2, gate_features=[0, 1]).fit(X, y)
    assert transport_divergence(one, fewer, X) > 0
    column = MoERegressor(2, start=z % 2).fit(X, y[:, None])
    assert_allclose(transport_divergence(named, column, X), 0, atol=1e-6)


@pytest.mark.parametrize("name", FAMILIES)
def test_update_minimises_the_surrogate(rng, name):
    """No step away from the updated expert lowers the plan-weighted divergence."""
    X, family = points(rng, 60), FAMILIES[name]
    expert = GaussianExpert() if name == "gaussian" else MultinomialExpert(ridge=0.0)
    values, reduced = family.values(make(name, rng, 5), X), make(name, rng, 1)
    plan = rng.random((60, 5))

    def surrogate(params):
        return float((plan * family.cost(values, family.values(params, X), 0)).sum())

    mass, sums = plan.sum(axis=1)[:, None], family.sums(values, plan)[:, None]
    for _ in range(8 if name == "multinomial" else 1):
        reduced = family.update(reduced, X, mass, sums, expert)
    best = surrogate(reduced)
    for _ in range(20):
        moved = [leaf * (1 + 1e-3 * rng.standard_normal(leaf.shape)) for leaf in reduced]
        assert surrogate(type(reduced)(*moved)) >= best - 1e-10


def test_soft_logit_is_stationary(rng):
    X, targets = points(rng, 200), 3 * gate(rng, 200, 4)
    coef = soft_logit(X, targets, np.zeros((4, 3)), 0.0)
    logits = X @ coef.T
    prob = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    score = (targets - targets.sum(axis=1, keepdims=True) * prob).T @ X
    assert_allclose(score, 0, atol=1e-6)


def test_soft_logit_recovers_probabilities_of_the_class(rng):
    X, truth = points(rng, 50), rng.standard_normal((3, 3))
    logits = X @ truth.T
    prob = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    found = soft_logit(X, prob, np.zeros((3, 3)), 0.0)
    assert_allclose(found, truth - truth.mean(axis=0), atol=1e-6)


def test_soft_logit_stays_finite_where_targets_are_separated(rng):
    X = points(rng, 50)
    targets = np.eye(2)[(X[:, 1] > 0).astype(int)]
    coef = soft_logit(X, targets, np.zeros((2, 3)), 1e-7)
    assert np.isfinite(coef).all()
    assert ((X @ coef.T).argmax(axis=1) == targets.argmax(axis=1)).all()
