"""Compiled small systems equal their numpy twins."""

import numpy as np
import pytest
from numpy.testing import assert_allclose

from mixexp.kernels import reference, small
from mixexp.solvers.newton import quadratic_change, softmax_newton_step, solve_dense, solve_newton


def information(rng, *shape):
    factor = rng.normal(size=(*shape[:-1], 3 * shape[-1]))
    return factor @ np.swapaxes(factor, -1, -2)


@pytest.mark.parametrize("q", [1, 4, small.LARGEST, small.LARGEST + 1])
def test_solve_newton_equals_lapack(q):
    rng = np.random.default_rng(q)
    A, b = information(rng, 3, 2, q, q), rng.normal(size=(3, 2, q))
    assert_allclose(solve_newton(A, b), solve_dense(A, b), rtol=1e-9)


def test_solve_newton_leaves_empty_directions_alone():
    A, b = np.zeros((2, 3, 3)), np.zeros((2, 3))
    A[:, 0, 0], b[:, 0] = 2.0, 4.0
    assert_allclose(solve_newton(A, b), [[2, 0, 0]] * 2, rtol=1e-9)


def test_solve_newton_of_not_a_number_raises_nothing():
    step = solve_newton(np.full((1, 2, 2), np.nan), np.ones((1, 2)))
    assert step.shape == (1, 2)


@pytest.mark.parametrize("K", [1, 2, 4])
def test_softmax_step_solves_the_full_system(K):
    rng = np.random.default_rng(K)
    q, pairs = 3, K * (K - 1) // 2
    blocks = information(rng, 2, pairs, q, q)
    score = rng.normal(size=(2, K, q))
    score -= score.mean(axis=1, keepdims=True)
    curvature = np.array([0.0, 0.5, 0.5])
    step = softmax_newton_step(blocks, score, curvature)
    full = np.zeros((2, K, q, K, q))
    for pair, (k, l) in enumerate(zip(*reference.class_pairs(K), strict=True)):
        for a, b, sign in ((k, k, 1), (l, l, 1), (k, l, -1), (l, k, -1)):
            full[:, a, :, b, :] += sign * blocks[:, pair]
    moved = np.einsum("skalb,slb->ska", full, step) + curvature * step
    assert_allclose(step.sum(axis=1), 0, atol=1e-12)
    if K > 1:
        assert_allclose(moved, score, rtol=1e-7, atol=1e-7)


def test_quadratic_change():
    rng = np.random.default_rng(0)
    A, b, x = information(rng, 2, 3, 4, 4), rng.normal(size=(2, 3, 4)), rng.normal(size=(2, 3, 4))
    expected = 2 * (x * b).sum(-1) - np.einsum("skab,ska,skb->sk", A, x, x)
    assert_allclose(quadratic_change(A, b, x), expected, rtol=1e-12)


def test_unpack():
    packed = np.arange(6.0)[None, None]
    assert_allclose(small.unpack(packed, 3)[0, 0], [[0, 1, 2], [1, 3, 4], [2, 4, 5]])


def test_anderson_equals_numpy():
    rng = np.random.default_rng(1)
    point, residual, gradient = rng.normal(size=(3, 40, 7))
    steps, residuals = rng.normal(size=(2, 40, 5, 7))
    steps[:, 3:], residuals[:, 3:] = 0, 0
    arguments = point, residual, gradient, steps, residuals, 1e-12
    assert_allclose(small.anderson(*arguments), reference.anderson(*arguments), rtol=1e-7)


def test_anderson_of_an_unbounded_history_is_the_image():
    one, history = np.ones((1, 2)), np.full((1, 3, 2), np.inf)
    assert_allclose(small.anderson(one, one, one, history, history, 1e-12), 2 * one)


def test_anderson_solves_a_linear_map():
    rng = np.random.default_rng(2)
    contraction, fixed = 0.9 * np.linalg.qr(rng.normal(size=(3, 3)))[0], rng.normal(size=3)
    points = rng.normal(size=(5, 3))
    residual = (points - fixed) @ (contraction - np.eye(3)).T
    steps, residuals = np.diff(points, axis=0)[None], np.diff(residual, axis=0)[None]
    proposal = small.anderson(
        points[-1:], residual[-1:], residual[-1:], steps[:, -3:], residuals[:, -3:], 1e-15
    )
    ascends = (proposal - points[-1]) @ residual[-1] > 0
    assert_allclose(proposal[0], fixed if ascends else 2 * points[-1] - fixed, rtol=1e-6)
