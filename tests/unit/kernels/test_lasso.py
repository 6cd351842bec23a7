"""Coordinate descent of the penalised quadratics: optimality, and scikit-learn's solutions."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy import optimize
from sklearn.linear_model import ElasticNet, Lasso

from mixexp.kernels import lasso
from mixexp.kernels.reference import class_pairs

TOL, ROUNDS = 1e-11, 200


def regression(seed, collinear, n=80, q=8):
    """Design with a column of ones, target and weights; `collinear` copies columns, almost."""
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n, q))
    X[:, 0] = 1
    if collinear:
        X[:, 2:5] = X[:, 1:2] + collinear * rng.standard_normal((n, 3))
    y = X @ np.where(rng.random(q) < 0.5, rng.standard_normal(q), 0) + rng.standard_normal(n)
    return X, y, rng.uniform(0.1, 3, n)


def quadratic(X, y, weight):
    total = weight.sum()
    return (X * weight[:, None]).T @ X / total, X.T @ (weight * y) / total


@pytest.mark.parametrize("collinear", [0, 0.1, 1e-3], ids=["apart", "close", "all but equal"])
@pytest.mark.parametrize("l2", [0.0, 0.05])
@pytest.mark.parametrize("seed", range(4))
def test_equals_scikit_learn_on_weighted_problems(seed, l2, collinear):
    X, y, weight = regression(seed, collinear)
    H, g = quadratic(X, y, weight)
    alpha = 0.05
    strengths = np.r_[0, np.full(X.shape[1] - 1, alpha)], np.r_[0, np.full(X.shape[1] - 1, l2)]
    start = 0.3 * np.random.default_rng(seed).standard_normal(len(g))
    ours = lasso.coordinate_descent(
        H[None],
        (g - H @ start)[None],
        start[None],
        strengths[0][None],
        strengths[1][None],
        TOL,
        200,
    )[0]
    settings = dict(tol=1e-14, max_iter=500000)
    if l2:
        model = ElasticNet(alpha + l2, l1_ratio=alpha / (alpha + l2), **settings)
    else:
        model = Lasso(alpha, **settings)
    theirs = model.fit(X[:, 1:], y, sample_weight=weight)
    assert_optimal(H, g, ours, *strengths)
    assert_allclose(X[:, 1:] @ ours[1:], X[:, 1:] @ theirs.coef_, atol=2e-5)
    if not collinear:
        assert_allclose(ours, np.r_[theirs.intercept_, theirs.coef_], atol=1e-6)


def assert_optimal(H, g, b, l1, l2):
    residual = g - H @ b - l2 * b
    assert np.all(np.abs(residual) <= l1 + 1e-9)
    assert_allclose(residual[b != 0], (l1 * np.sign(b))[b != 0], atol=1e-9)


def test_each_coefficient_may_have_its_own_strength():
    X, y, weight = regression(5, 0)
    H, g = quadratic(X, y, weight)
    l1, l2 = np.r_[0, 0, np.linspace(0.02, 0.5, 6)], np.r_[0.1, np.linspace(0, 0.2, 7)]
    zero = np.zeros((1, 8))
    found = lasso.coordinate_descent(H[None], g[None], zero, l1[None], l2[None], TOL, ROUNDS)[0]
    assert_optimal(H, g, found, l1, l2)
    assert found[1] != 0 and np.any(found == 0)


def test_exact_copies_and_empty_columns_are_no_special_case():
    X, y, weight = regression(6, 0)
    X[:, 3], X[:, 4] = X[:, 2], 0
    H, g = quadratic(X, y, weight)
    l1 = np.r_[0, np.full(7, 0.05)]
    zero = np.zeros((1, 8))
    found = lasso.coordinate_descent(H[None], g[None], zero, l1[None], 0 * l1[None], TOL, ROUNDS)[0]
    assert_optimal(H, g, found, l1, 0 * l1)
    assert found[4] == 0


def test_problems_of_a_batch_do_not_meet():
    problems = [quadratic(*regression(seed, 0)) for seed in range(3)]
    H, g = (np.array(part) for part in zip(*problems, strict=True))
    l1, zero = np.tile(np.r_[0, np.full(7, 0.1)], (3, 1)), np.zeros((3, 8))
    args = l1, 0 * l1, TOL, ROUNDS
    whole = lasso.coordinate_descent(H, g, zero, *args)
    each = [
        lasso.coordinate_descent(H[i : i + 1], g[i : i + 1], zero[:1], l1[:1], zero[:1], TOL, 200)
        for i in range(3)
    ]
    assert np.array_equal(whole, np.concatenate(each))


# --- coefficients of a softmax, which sum to zero over the classes -------------------------------


def softmax_problem(K, q, seed):
    """Blocks between classes, and a score that sums to zero over them."""
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((60, q))
    X[:, 0] = 1
    prob = rng.dirichlet(np.ones(K), 60)
    k, l = class_pairs(K)
    pairs = np.einsum("np,na,nb->pab", prob[:, k] * prob[:, l], X, X) / 60
    target = rng.dirichlet(np.ones(K) * 0.3, 60)
    return pairs, (target - prob).T @ X / 60


def information(pairs, K):
    """(K q, K q) from the law: block (k, l) is -pairs, and rows of blocks sum to zero."""
    q = pairs.shape[-1]
    full = np.zeros((K, q, K, q))
    for block, k, l in zip(pairs, *class_pairs(K), strict=True):
        full[k, :, l], full[l, :, k] = -block, -block
        full[k, :, k] += block
        full[l, :, l] += block
    return full.reshape(K * q, K * q)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("K", [2, 3, 5])
def test_transfers_reach_the_optimum_of_a_general_solver(K, seed):
    """Split variables b = u - v make the problem smooth: SLSQP solves it with its constraints."""
    q, alpha = 4, 0.02
    pairs, score = softmax_problem(K, q, seed)
    H, g = information(pairs, K), score.ravel()
    l1, l2 = np.full((K, q), alpha), np.full((K, q), 0.03)
    l1[:, 0] = l1[:, -1] = 0
    start = np.zeros((1, K, q))
    settings = l1[None], l2[None], TOL, 0.0, ROUNDS
    found = lasso.centred_descent(pairs[None], score[None], start, *settings)[0]
    assert_allclose(found.sum(axis=0), 0, atol=1e-13)

    def loss(split):
        b = split[: K * q] - split[K * q :]
        value = 0.5 * b @ H @ b - g @ b + 0.5 * np.sum(l2.ravel() * b * b)
        slope = H @ b - g + l2.ravel() * b
        value += l1.ravel() @ (split[: K * q] + split[K * q :])
        return value, np.r_[slope + l1.ravel(), -slope + l1.ravel()]

    sums = np.tile(np.eye(q), K)
    sums = np.hstack([sums, -sums])
    constraint = {"type": "eq", "fun": lambda s: sums @ s, "jac": lambda s: sums}
    best = optimize.minimize(
        loss,
        np.full(2 * K * q, 0.01),
        jac=True,
        bounds=[(0, None)] * (2 * K * q),
        constraints=[constraint],
        method="SLSQP",
        options={"ftol": 1e-15, "maxiter": 1000},
    )
    theirs = (best.x[: K * q] - best.x[K * q :]).reshape(K, q)
    ours, _ = loss(np.r_[np.maximum(found.ravel(), 0), np.maximum(-found.ravel(), 0)])
    assert ours <= best.fun + 1e-10
    assert_allclose(found, theirs, atol=2e-6)


@pytest.mark.parametrize("seed", range(4))
def test_a_transfer_is_the_best_of_all_amounts(seed):
    """Every place of the two coefficients against the two kinks of the absolute values."""
    rng = np.random.default_rng(seed)
    amounts = np.linspace(-6, 6, 240001)
    for _ in range(40):
        curvature, slope = rng.uniform(0.3, 2), 2 * rng.standard_normal()
        first, second = rng.choice([0, 1], 2) * rng.standard_normal(2)
        l1_first, l1_second = rng.uniform(0, 1.5, 2) * rng.choice([0, 1], 2)
        args = curvature, slope, first, second, l1_first, l1_second

        def gain(t, args=args):
            curvature, slope, first, second, l1_first, l1_second = args
            cost = l1_first * np.abs(first + t) + l1_second * np.abs(second - t)
            return slope * t - 0.5 * curvature * t**2 - cost

        # two classes and one column: the whole problem is one transfer
        found = lasso.centred_descent(
            np.full((1, 1, 1, 1), curvature / 4),
            np.array([[[slope / 2], [-slope / 2]]]),
            np.array([[[first], [second]]]),
            np.array([[[l1_first], [l1_second]]]),
            np.zeros((1, 2, 1)),
            TOL,
            0.0,
            1,
        )[0, :, 0]
        assert_allclose(found.sum(), first + second, atol=1e-14)
        assert gain(found[0] - first) >= gain(amounts).max() - 1e-12


def test_the_intercept_of_a_class_without_rows_is_solved_for_at_once():
    """By transfers it would creep: they move a class of many rows as well."""
    prob = np.array([1e-9, 0.4, 0.6 - 1e-9])
    k, l = np.triu_indices(3, 1)
    pairs = (prob[k] * prob[l]).reshape(1, 3, 1, 1)
    extra = 1e-10
    score = np.array([1e-9, -0.4e-9, -0.6e-9]).reshape(1, 3, 1)
    start = np.array([-20.0, 9.0, 11.0]).reshape(1, 3, 1)
    zeros = np.zeros((1, 3, 1))
    found = lasso.centred_descent(pairs, score, start, zeros, zeros + extra, 1e-13, 0.0, 3)
    information = np.diag(prob) - np.outer(prob, prob)
    left = score[0, :, 0] - information @ (found - start)[0, :, 0] - extra * found[0, :, 0]
    assert_allclose(left, 0, atol=1e-12)
