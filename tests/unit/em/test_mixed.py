"""Random effects: derivatives, factorisations, and values that are known exactly."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy import stats

from mixexp.em.mixed import mixture, precision
from mixexp.em.mixed.averaged import averaged_terms
from mixexp.em.mixed.families import FAMILIES
from mixexp.em.mixed.marginal import APPROXIMATIONS, evaluate, first_state
from mixexp.em.mixed.nodes import product_rule, roots, rule
from mixexp.em.mixed.posterior import View
from mixexp.em.mixed.problem import Problem, connect, indicator

FAMILY_NAMES = list(FAMILIES)


def target(family, n, rng):
    """Values in the support of a family."""
    draws = {
        "gaussian": rng.normal(size=n),
        "poisson": rng.poisson(2.0, n).astype(float),
        "binomial": rng.binomial(4, 0.4, n).astype(float),
        "gamma": rng.gamma(2.0, 1.0, n),
    }
    return draws[family]


def make_problem(family, K, *, n=60, groups=(6,), slopes=True, gate=True, seed=0) -> Problem:
    """Random intercepts (and slopes) of the experts and random intercepts of the gate."""
    rng = np.random.default_rng(seed)
    X = np.column_stack([np.ones(n), rng.normal(size=n)])
    codes = [np.sort(np.r_[np.arange(groups[0]), rng.integers(0, groups[0], n - groups[0])])]
    for G in groups[1:]:
        codes.append(rng.permutation(np.r_[np.arange(G), rng.integers(0, G, n - G)]))
    terms = 2 if slopes else 1
    targets = [(K + k, t) for k in range(K) for t in range(terms)]
    targets += [(k, 0) for k in range(K - 1)] if gate else []
    B = np.zeros((n, 2 * K, len(targets)))
    for d, (j, t) in enumerate(targets):
        B[:, j, d] = X[:, t]
    free = np.zeros((len(targets), len(targets)), dtype=bool)
    for k in range(K):
        own = slice(k * terms, (k + 1) * terms)
        free[own, own] = np.tril(np.ones((terms, terms)))
    rest = len(targets) - K * terms
    free[K * terms :, K * terms :] = np.tril(np.ones((rest, rest)))
    component, components, count = connect(codes, list(groups))
    return Problem(
        FAMILIES[family],
        X,
        X,
        target(family, n, rng),
        0.1 * rng.normal(size=n),
        np.full(n, 4.0),
        tuple(codes),
        tuple(indicator(code, G) for code, G in zip(codes, groups, strict=True)),
        (B,) * len(groups),
        (free,) * len(groups),
        component,
        components,
        count,
    )


def vector_of(problem, seed=1):
    q = problem.X_expert.shape[1]
    size = (2 * problem.K - 1) * q + problem.K * problem.family.has_dispersion
    size += sum(int(free.sum()) for free in problem.free)
    return 0.4 * np.random.default_rng(seed).normal(size=size)


def differences(function, point, step=1e-5):
    """Central differences of a function of a vector, first axis the vector's."""
    out = []
    for j in range(len(point)):
        h = np.zeros(len(point))
        h[j] = step
        out.append((function(point + h) - function(point - h)) / (2 * step))
    return np.array(out)


@pytest.mark.parametrize("family", FAMILY_NAMES)
def test_derivatives_of_families(family, rng):
    n, h = 20, 1e-5
    y, e, p = target(family, n, rng), rng.normal(size=n), 0.3 * rng.normal(size=n)
    at = lambda e, p: FAMILIES[family].density(e, y, np.full(n, 4.0), p)  # noqa: E731
    here, up, down = at(e, p), at(e + h, p), at(e - h, p)
    for name, of in (("e", "value"), ("ee", "e"), ("eee", "ee"), ("ep", "p")):
        numeric = (getattr(up, of) - getattr(down, of)) / (2 * h)
        assert_allclose(getattr(here, name), numeric, rtol=1e-6, atol=1e-6)
    if FAMILIES[family].has_dispersion:
        up, down = at(e, p + h), at(e, p - h)
        for name, of in (("p", "value"), ("ep", "e"), ("eep", "ee")):
            numeric = (getattr(up, of) - getattr(down, of)) / (2 * h)
            assert_allclose(getattr(here, name), numeric, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("family", FAMILY_NAMES)
@pytest.mark.parametrize("K", [1, 3])
def test_derivatives_of_rows(family, K, rng):
    n = 8
    eta, p, y = rng.normal(size=(n, 2 * K)), 0.3 * rng.normal(size=K), target(family, n, rng)
    p = p * FAMILIES[family].has_dispersion
    trials, root = np.full(n, 4.0), rng.normal(size=(n, 2 * K, 2 * K))
    V = root @ np.swapaxes(root, 1, 2)
    terms = mixture.row_terms(FAMILIES[family], eta, p, y, trials)
    third, third_p = mixture.third_order(FAMILIES[family], eta, p, y, trials, V)

    def at(move, by_p):
        moved = (eta, p + move) if by_p else (eta + move, p)
        return mixture.row_terms(FAMILIES[family], *moved, y, trials)

    def pieces(move, by_p=False):
        one = at(move, by_p)
        traces = -np.einsum("nab,nab->n", V, one.information)
        return np.concatenate([one.value[:, None], one.score, traces[:, None]], axis=1)

    numeric = differences(pieces, np.zeros(2 * K))
    assert_allclose(terms.score, numeric[:, :, 0].T, atol=1e-6, rtol=1e-5)
    assert_allclose(-terms.information, np.moveaxis(numeric[:, :, 1:-1], 0, 1), atol=1e-5)
    assert_allclose(third, numeric[:, :, -1].T, atol=2e-5, rtol=1e-5)
    if FAMILIES[family].has_dispersion:
        numeric = differences(lambda move: pieces(move, True), np.zeros(K))
        assert_allclose(terms.by_log_dispersion, numeric[:, :, 0].T, atol=1e-6, rtol=1e-5)
        assert_allclose(terms.mixed, np.transpose(numeric[:, :, 1:-1], (1, 2, 0)), atol=1e-5)
        assert_allclose(third_p, numeric[:, :, -1].T, atol=2e-5, rtol=1e-5)


@pytest.mark.parametrize("family", FAMILY_NAMES)
@pytest.mark.parametrize("approximation", APPROXIMATIONS)
@pytest.mark.parametrize(("K", "groups"), [(1, (6,)), (2, (6,)), (2, (6, 3))])
def test_gradient_of_the_marginal_likelihood(family, approximation, K, groups):
    if approximation == "quadrature" and len(groups) > 1:
        pytest.skip("quadrature takes one factor")
    problem = make_problem(family, K, groups=groups, slopes=len(groups) == 1)
    vector = vector_of(problem)
    found = evaluate(problem, vector, first_state(problem), approximation)
    assert found.law.sound

    def value(point):
        return evaluate(problem, point, found.state, approximation).value

    numeric = differences(value, vector)
    assert_allclose(found.gradient, numeric, atol=2e-5 * (1 + np.abs(numeric).max()))


def test_three_classes_of_the_gate_have_the_right_gradient():
    problem = make_problem("gaussian", 3, slopes=False)
    vector = vector_of(problem)
    for approximation in APPROXIMATIONS:
        found = evaluate(problem, vector, first_state(problem), approximation)
        numeric = differences(
            lambda point, found=found, kind=approximation: (
                evaluate(problem, point, found.state, kind).value
            ),
            vector,
        )
        assert_allclose(found.gradient, numeric, atol=1e-4)


@pytest.mark.parametrize("groups", [(6,), (6, 3), (8, 4, 3)])
def test_precision_equals_the_dense_matrix(groups, rng):
    problem = make_problem("gaussian", 2, groups=groups)
    loadings = problem.loadings(problem.unpack(vector_of(problem)))
    root = rng.normal(size=(problem.n, 4, 4))
    W = root @ np.swapaxes(root, 1, 2)
    sizes = [G * D for G, D in problem.shapes]
    full = np.zeros((problem.n, 4, sum(sizes)))
    start = 0
    for A, code, (G, D) in zip(loadings, problem.codes, problem.shapes, strict=True):
        places = start + code[:, None] * D + np.arange(D)
        full[np.arange(problem.n)[:, None, None], np.arange(4)[:, None], places[:, None, :]] = A
        start += G * D
    H = np.eye(sum(sizes)) + np.einsum("nja,njk,nkb->ab", full, W, full)
    inverse = np.linalg.inv(H)
    made = precision.factorise(problem, loadings, W)
    assert_allclose(sum(part.sum() for part in made.logs), np.linalg.slogdet(H)[1])
    right = [rng.normal(size=shape) for shape in problem.shapes]
    solved = np.concatenate([part.ravel() for part in precision.solve(problem, made, right)])
    assert_allclose(solved, inverse @ np.concatenate([part.ravel() for part in right]), atol=1e-10)
    _, V = precision.row_covariances(problem, made, loadings)
    assert_allclose(V, full @ inverse @ np.swapaxes(full, 1, 2), atol=1e-10)
    diagonal = np.concatenate(
        [np.einsum("gdd->gd", S).ravel() for S in precision.covariances(problem, made)]
    )
    assert_allclose(diagonal, np.diag(inverse), atol=1e-10)


@pytest.mark.parametrize("approximation", APPROXIMATIONS)
@pytest.mark.parametrize("groups", [(6,), (6, 4)])
def test_one_gaussian_expert_is_exact(approximation, groups):
    if approximation == "quadrature" and len(groups) > 1:
        pytest.skip("quadrature takes one factor")
    problem = make_problem("gaussian", 1, groups=groups)
    vector = vector_of(problem)
    params = problem.unpack(vector)
    covariance = np.exp(2 * params.log_dispersion[0]) * np.eye(problem.n)
    for A, code in zip(problem.loadings(params), problem.codes, strict=True):
        covariance += (A[:, 1] @ A[:, 1].T) * (code[:, None] == code)
    mean = problem.fixed(params)[:, 1]
    exact = stats.multivariate_normal(mean, covariance).logpdf(problem.y)
    found = evaluate(problem, vector, first_state(problem), approximation)
    assert_allclose(found.value, exact, rtol=1e-9)


@pytest.mark.parametrize("family", FAMILY_NAMES)
def test_averaged_rows_bound_the_average(family, rng):
    """The row's term of the variational bound is below E log p, by Jensen's inequality."""
    n, K = 12, 2
    eta, y, trials = rng.normal(size=(n, 2 * K)), target(family, n, rng), np.full(n, 4.0)
    root = np.zeros((n, 2 * K, 2 * K))
    root[:, [0, 2, 3], [0, 2, 3]] = 0.5
    V = root @ np.swapaxes(root, 1, 2)
    p = np.full(K, 0.2) * FAMILIES[family].has_dispersion
    bound = averaged_terms(FAMILIES[family], eta, V, p, y, trials).value
    nodes, weights = product_rule(3, 21)
    average = np.zeros(n)
    for node, weight in zip(nodes, weights, strict=True):
        moved = eta.copy()
        moved[:, [0, 2, 3]] += 0.5 * node
        average += weight * mixture.row_values(FAMILIES[family], moved, p, y, trials)
    assert np.all(bound <= average + 1e-9)
    at_zero = averaged_terms(FAMILIES[family], eta, 0 * V, p, y, trials).value
    assert_allclose(at_zero, mixture.row_values(FAMILIES[family], eta, p, y, trials), rtol=1e-12)


def test_components_of_nested_and_crossed_factors():
    inner = np.arange(6).repeat(2)
    nested = connect([inner, inner // 3], [6, 2])
    assert nested[2] == 2
    assert_allclose(nested[0], (inner // 3))
    assert connect([inner, np.tile([0, 1], 6)], [6, 2])[2] == 1


@pytest.mark.parametrize("dimension", [0, 1, 2, 4, 6])
def test_rules_have_the_moments_of_the_normal_law(dimension):
    nodes, weights = rule(dimension)
    assert_allclose(weights.sum(), 1)
    assert_allclose(weights @ nodes, np.zeros(dimension), atol=1e-12)
    tolerance = 1e-10 if dimension <= 4 else 0.1
    assert_allclose((nodes * weights[:, None]).T @ nodes, np.eye(dimension), atol=tolerance)


def test_roots_of_singular_covariances(rng):
    B = rng.normal(size=(5, 4, 2))
    V = B @ np.swapaxes(B, 1, 2)
    C = roots(V)
    assert_allclose(C @ np.swapaxes(C, 1, 2), V, atol=1e-9)


def test_view_replaces_an_indefinite_information():
    problem = make_problem("gaussian", 2)
    view = View.of(problem, problem.unpack(vector_of(problem)))
    complete = view.terms(view.predictors(problem.zeros())).complete
    W = 2 * complete
    bad = problem.component == 2
    W[bad] = -1e3 * np.eye(4)
    _, used, sound = view.factorised(W, complete)
    assert not sound
    assert_allclose(used[bad], complete[bad])
    assert_allclose(used[~bad], 2 * complete[~bad])
