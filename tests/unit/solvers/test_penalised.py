"""Penalised steps: the maximiser of the quadratic less the penalty, whatever the solver."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose

from mixexp import L1, L2, ElasticNet, GroupLasso
from mixexp.solvers import (
    centred_on_support,
    penalised_softmax_step,
    penalised_step,
    tied_penalised_step,
)
from tests.penalties_of_ones_own import FusedExperts, Largest
from tests.unit.kernels.test_lasso import information, softmax_problem

S, K, Q = 2, 3, 4  # problems of a batch, members, coefficients


def quadratics(seed=0):
    """(gram, score, coef): the score is the gradient at the current coefficients."""
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((S, K, 40, Q))
    X[..., 0] = 1
    gram = np.einsum("skna,sknb->skab", X, X) / 40
    return gram, rng.standard_normal((S, K, Q)), 0.2 * rng.standard_normal((S, K, Q))


def objective(gram, score, coef, penalty, new):
    change = new - coef
    rise = np.sum(score * change, axis=(-2, -1))
    rise -= 0.5 * np.einsum("ska,skab,skb->s", change, gram, change)
    return rise - penalty.value(new[..., 1:])


def maximum(gram, score, coef, penalty):
    """The end of steps repeated from where the last one stopped, as passes repeat them."""
    new = coef
    for _ in range(8):
        gradient = score - np.einsum("...kab,...kb->...ka", gram, new - coef)
        new = penalised_step(gram, gradient, new, penalty)
    return new


PENALTIES = [L1(0.3), ElasticNet(0.3), GroupLasso(0.9), Largest(1.6)]
each = pytest.mark.parametrize("penalty", PENALTIES, ids=lambda p: type(p).__name__)


@each
def test_a_step_is_stationary_and_the_highest_around(penalty):
    gram, score, coef = quadratics()
    new = maximum(gram, score, coef, penalty)
    gradient = score - np.einsum("skab,skb->ska", gram, new - coef)
    assert_allclose(gradient[..., 0], 0, atol=1e-9)
    assert_allclose(penalty.subgradient(new[..., 1:], gradient[..., 1:]), 0, atol=1e-9)
    assert np.any(new[..., 1:] == 0)
    rng, top = np.random.default_rng(1), objective(gram, score, coef, penalty, new)
    for scale in np.logspace(-6, 0, 30):
        other = new + scale * rng.standard_normal(new.shape)
        assert np.all(objective(gram, score, coef, penalty, other) <= top + 1e-14)


def test_the_two_solvers_agree():
    """The proximal solver on a penalty that the coordinate descent knows as well."""

    class Plain(L1):
        separable = False

    gram, score, coef = quadratics(2)
    ours, theirs = (maximum(gram, score, coef, cls(0.3)) for cls in (L1, Plain))
    assert_allclose(ours, theirs, atol=1e-9)
    ours, theirs = (softmax_maximum(cls(0.02), np.zeros(Q), 0)[0] for cls in (L1, Plain))
    assert_allclose(ours, theirs, atol=1e-8)
    assert np.any(ours == 0) and np.array_equal(ours == 0, theirs == 0)


def softmax_maximum(penalty, extra, seed):
    """The end of repeated steps of three classes, and the gradient there, ridge included."""
    pairs, score = softmax_problem(3, Q, seed)
    full, new = information(pairs, 3), np.zeros((3, Q))
    for _ in range(8):
        left = score - (full @ new.ravel()).reshape(3, Q)
        new = penalised_softmax_step(pairs[None], left[None], new[None], penalty, extra)[0]
    return new, score - (full @ new.ravel()).reshape(3, Q) - extra * new


@pytest.mark.parametrize("penalty", [L1(0.02), GroupLasso(0.02), Largest(0.05)], ids=repr)
def test_a_softmax_step_is_stationary_among_centred_coefficients(penalty):
    new, gradient = softmax_maximum(penalty, np.r_[0, np.full(Q - 1, 0.01)], 1)
    assert_allclose(new.sum(axis=0), 0, atol=1e-12)
    assert_allclose(gradient[:, 0], 0, atol=1e-9)
    left = penalty.subgradient(new[:, 1:], gradient[:, 1:], centred=True)
    assert_allclose(left, 0, atol=1e-8)
    assert new[:, 1:].any()


def test_one_class_has_nothing_to_choose():
    step = penalised_softmax_step(np.zeros((0, Q, Q)), np.zeros((1, Q)), np.ones((1, Q)), L1(1), 0)
    assert not step.any()


def test_shared_slopes_pay_once_for_every_member():
    """Tying by a change of variables: the sum of the quadratics less K times the penalty."""
    gram, score, _ = quadratics(3)
    coef, tied = np.zeros((S, K, Q)), np.array([False, True, True, True])
    new = tied_penalised_step(gram, score, coef, L1(0.1), tied)
    assert np.array_equal(new[:, :1, 1:].repeat(K, axis=1), new[..., 1:])
    gradient = score - np.einsum("skab,skb->ska", gram, new)
    assert_allclose(gradient[..., 0], 0, atol=1e-9)
    mean = gradient[..., 1:].mean(axis=1)
    assert_allclose(L1(0.1).subgradient(new[:, 0, 1:], mean), 0, atol=1e-9)
    assert np.any(new[..., 1:] != 0)


def test_tied_slopes_want_a_penalty_of_single_slopes():
    gram, score, coef = quadratics()
    with pytest.raises(ValueError, match="GroupLasso on tied slopes is not available"):
        tied_penalised_step(gram, score, coef, GroupLasso(0.1), np.arange(Q) > 1)


def test_experts_are_fused_exactly():
    gram, score, _ = quadratics(4)
    new = maximum(gram[:, :2], score[:, :2], np.zeros((S, 2, Q)), FusedExperts(0.8))
    same = np.isclose(new[:, 0, 1:], new[:, 1, 1:], rtol=0, atol=1e-9)
    assert same.any() and not same.all()


def test_centring_keeps_the_zeros():
    coef = np.array([[1.0, 0.0, 2.0], [0.0, 0.0, 1.0], [2.0, 0.0, 0.0]])
    moved = centred_on_support(coef)
    assert np.array_equal(moved == 0, coef == 0)
    assert_allclose(moved.sum(axis=0), 0, atol=1e-15)


def test_a_ridge_within_is_the_solution_of_linear_equations():
    gram, score, coef = quadratics(5)
    new = penalised_step(gram, score, coef, ElasticNet(0.4, l1_ratio=1e-12))
    ridge = np.diag(np.r_[0, np.full(Q - 1, 0.4)])
    right = score + np.einsum("skab,skb->ska", gram, coef)
    assert_allclose(new, np.linalg.solve(gram + ridge, right[..., None])[..., 0], atol=1e-8)
    assert L2(0.4).separable
