"""The marginal likelihood three times over: by quadrature, by its bound, and by Monte Carlo."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy import special, stats

from mixexp.em.mixed.marginal import settled
from mixexp.em.mixed.montecarlo import monte_carlo
from mixexp.em.mixed.posterior import View
from mixexp.em.mixed.precision import Draws, factorise
from tests.unit.em.test_mixed import make_problem, vector_of

FAMILIES = ["gaussian", "poisson", "binomial", "gamma"]


def small(family, K, groups=(3,), n=12, seed=0, **settings):
    problem = make_problem(family, K, n=n, groups=groups, slopes=False, seed=seed, **settings)
    return View.of(problem, problem.unpack(vector_of(problem, seed + 1)))


def log_density(view, eta, y):
    """scipy's log densities (draws, rows, K) of the experts, without the rows' own parts."""
    name, dispersion = view.problem.family.expert, np.exp(view.params.log_dispersion)
    y = y[:, None]
    if name == "gaussian":
        return stats.norm.logpdf(y, eta, dispersion)
    if name == "poisson":
        return stats.poisson.logpmf(y, np.exp(eta)) + special.gammaln(y + 1)
    if name == "binomial":
        constant = -np.log(special.comb(4, y))
        return stats.binom.logpmf(y, 4, special.expit(eta)) + constant
    return stats.gamma.logpdf(y, dispersion, scale=np.exp(eta) / dispersion)


def brute_force(view, n_draws=100_000):
    """(value, standard error): averages over draws from the prior, group by group."""
    problem, rng = view.problem, np.random.default_rng(5)
    K, value, variance = problem.K, 0.0, 0.0
    for g in range(problem.shapes[0][0]):
        own = problem.codes[0] == g
        u = rng.standard_normal((n_draws, problem.shapes[0][1]))
        eta = view.fixed[own] + np.einsum("njd,sd->snj", view.loadings[0][own], u)
        gate = special.log_softmax(eta[:, :, :K], axis=2)
        rows = special.logsumexp(gate + log_density(view, eta[:, :, K:], problem.y[own]), axis=2)
        density = np.exp(rows.sum(axis=1))
        value += np.log(density.mean())
        variance += density.var() / density.mean() ** 2 / n_draws
    return value, np.sqrt(variance)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize(("K", "gate", "coarse"), [(1, False, 0), (2, False, 0), (2, True, 0.05)])
def test_quadrature_is_what_brute_force_finds(family, K, gate, coarse):
    """Groups of four rows; three effects each have seven nodes in a direction, which is coarse."""
    view = small(family, K, gate=gate)
    value, error = brute_force(view)
    assert error < 0.01
    assert abs(settled(view, "quadrature").value - value) < 4 * error + coarse


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("K", [1, 2])
@pytest.mark.parametrize("seed", range(4))
def test_the_variational_bound_is_one(family, K, seed):
    view = small(family, K, groups=(5,), n=30, seed=seed)
    bound, exact = (settled(view, kind).value for kind in ("variational", "quadrature"))
    assert bound <= exact + 1e-8
    if family == "gaussian" and K == 1:
        assert_allclose(bound, exact, rtol=1e-10)
    else:
        assert bound < exact - 1e-6


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("K", [1, 2])
def test_monte_carlo_agrees_with_quadrature(family, K):
    view = small(family, K, groups=(5,), n=30)
    found = monte_carlo(view, 1000, np.random.default_rng(0))
    assert found.std_err < 0.1 and 100 < found.effective_draws <= 1000
    assert abs(found.value - settled(view, "quadrature").value) < 4 * found.std_err + 1e-8


def test_monte_carlo_of_crossed_factors_agrees_with_brute_force():
    """Two groups of each of two factors: eight effects, integrated out together."""
    view = small("poisson", 1, groups=(2, 2), n=16)
    problem, rng = view.problem, np.random.default_rng(3)
    u = [rng.standard_normal((200_000, *shape)) for shape in problem.shapes]
    eta = view.fixed[:, 1] + sum(
        np.einsum("nd,snd->sn", A[:, 1], effects[:, code])
        for A, effects, code in zip(view.loadings, u, problem.codes, strict=True)
    )
    density = np.exp((problem.y * eta - np.exp(eta)).sum(axis=1))
    wanted, error = np.log(density.mean()), density.std() / density.mean() / np.sqrt(len(density))
    found = monte_carlo(view, 1000, np.random.default_rng(0))
    assert found.std_err < 0.05
    assert abs(found.value - wanted) < 4 * np.hypot(error, found.std_err)


@pytest.mark.parametrize("groups", [(6,), (6, 4)])
@pytest.mark.parametrize("n_draws", [100, 300])
def test_one_gaussian_expert_is_exact_by_monte_carlo(groups, n_draws):
    view = small("gaussian", 1, groups=groups, n=60)
    found = monte_carlo(view, n_draws, np.random.default_rng(1))
    assert_allclose(found.value, settled(view, "laplace").value, rtol=1e-9)
    assert found.std_err < 1e-6


def test_the_standard_error_is_that_of_the_estimates():
    view = small("binomial", 2, groups=(5,), n=30)
    exact = settled(view, "quadrature").value
    runs = [monte_carlo(view, 200, np.random.default_rng(seed)) for seed in range(30)]
    z = np.array([(one.value - exact) / one.std_err for one in runs])
    assert abs(z.mean()) < 0.5 and 0.7 < z.std() < 1.4


@pytest.mark.parametrize("groups", [(4,), (4, 3, 2)])
def test_draws_have_the_covariance_of_the_precision(groups):
    problem = make_problem("gaussian", 2, n=30, groups=groups, slopes=False)
    loadings = problem.loadings(problem.unpack(vector_of(problem)))
    view = View.of(problem, problem.unpack(vector_of(problem)))
    W = view.terms(view.fixed).complete
    draws, rng = Draws.of(factorise(problem, loadings, W)), np.random.default_rng(0)
    made = [np.concatenate([u.ravel() for u in draws.draw(problem, rng)]) for _ in range(20_000)]
    # H, column by column: what a unit of an effect does to the gradient
    sizes, H = [G * D for G, D in problem.shapes], []
    for j in range(sum(sizes)):
        parts = np.split(np.eye(sum(sizes))[j], np.cumsum(sizes)[:-1])
        unit = [part.reshape(shape) for part, shape in zip(parts, problem.shapes, strict=True)]
        moved = np.einsum("nab,nb->na", W, problem.moved(loadings, unit))
        pulled = problem.gathered(loadings, moved)
        H.append(np.concatenate([(a + b).ravel() for a, b in zip(pulled, unit, strict=True)]))
    assert_allclose(np.cov(np.array(made).T), np.linalg.inv(H), atol=0.05)
