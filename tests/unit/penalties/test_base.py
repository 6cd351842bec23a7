"""What penalties share: the centred proximal operator, names and weights, checks."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose

from mixexp import L1, L2, ElasticNet, GroupLasso, MoERegressor, Penalty, SoftmaxGate
from mixexp.penalties import is_active, is_sparse, ridge
from mixexp.penalties.base import SeparablePenalty
from tests.penalties_of_ones_own import FusedColumns, Largest


def test_columns_that_a_penalty_couples_share_the_search_for_their_multipliers():
    """With total variation over two columns, the multiplier of each depends on the other's."""
    penalty, rng = FusedColumns(0.2), np.random.default_rng(0)
    slopes = rng.standard_normal((2, 3, 2))
    slopes -= slopes.mean(axis=1, keepdims=True)
    found = penalty.centred_prox(slopes, 1.0)
    assert_allclose(found.sum(axis=1), 0, atol=1e-12)
    # the optimum: slopes - found = 0.2 * (sign of the difference) up to a multiplier a column
    residual = slopes - found
    for one, at in zip(residual, found, strict=True):
        difference = at[:, 0] - at[:, 1]
        assert np.any(difference != 0)
        assert_residual_is_a_subgradient(one, difference, 0.2)


def assert_residual_is_a_subgradient(residual, difference, alpha):
    """Multipliers a, b exist with residual = (a + t, b - t), t = alpha sign(difference) or less."""
    total = residual.sum(axis=1)
    assert_allclose(total, total.mean(), atol=1e-10)  # a + b, the same in all members
    low = np.where(difference > 1e-9, alpha, -alpha)
    high = np.where(difference < -1e-9, -alpha, alpha)
    first = residual[:, 0]
    assert (first - high).max() <= (first - low).min() + 1e-9


def test_a_penalty_that_keeps_the_sum_needs_no_multiplier():
    slopes = np.random.default_rng(1).standard_normal((3, 4))
    slopes -= slopes.mean(axis=0)
    penalty = GroupLasso(0.1)
    assert np.array_equal(penalty.centred_prox(slopes, 1.0), penalty.prox(slopes, 1.0))


def test_the_default_subgradient_is_a_proximal_step():
    penalty, slopes = Largest(0.2), np.array([[1.0, 0.0], [0.4, 0.0]])
    gradient = np.array([[0.2, 0.05], [0.0, -0.1]])
    # the largest slope of the first column bears the penalty; 0.15 in all holds the second
    assert_allclose(penalty.subgradient(slopes, gradient), 0, atol=1e-14)
    assert np.abs(penalty.subgradient(slopes, 2 * gradient)).max() > 0.05


def test_a_penalty_that_does_not_know_its_path_says_so():
    with pytest.raises(NotImplementedError, match="Largest does not say where its path begins"):
        Largest(0.2).zero_strength(np.ones((2, 2)))


def test_weights_by_name():
    penalty = L1(0.1, weights={"b": 0.0, "c": 2})
    assert_allclose(penalty.named(["a", "b", "c"]).weights, [1, 0, 2])
    assert penalty.weights == {"b": 0.0, "c": 2}  # the user's own stays as it is
    with pytest.raises(ValueError, match=r"weights name the columns \['d'\]; there are \['a'\]"):
        L1(0.1, weights={"d": 1}).named(["a"])
    with pytest.raises(ValueError, match="by name needs columns with names"):
        penalty.column_weights(3)


def test_only_a_ridge_is_left_to_newton_steps():
    class Smooth(Penalty):
        """Not quadratic, and nothing becomes zero: solved by its proximal operator."""

        sparse = False
        alpha = 1.0
        value = prox = lambda self, *args: None

    assert is_sparse(L1(0.1)) and is_sparse(ElasticNet(0.1)) and is_sparse(Smooth())
    assert not is_sparse(L2(0.1)) and not is_sparse(ElasticNet(0.1, l1_ratio=0))
    assert not is_sparse(None) and not is_active(None) and not is_sparse(L1(0))
    assert_allclose(ridge(L2(0.5, weights=[1, 3]), 3, 0.1, 0.2), [0.2, 0.6, 1.6])
    assert_allclose(ridge(ElasticNet(0.5, l1_ratio=0), 3), [0, 0.5, 0.5])
    assert_allclose(ridge(L1(0.5), 3, 0.1), [0, 0.1, 0.1])
    assert_allclose(ridge(Smooth(), 2), 0)


def test_what_is_no_penalty_is_refused():
    X = np.random.default_rng(0).standard_normal((30, 2))
    for value in (0.1, "l1", L1):
        with pytest.raises(TypeError, match="penalty must be None or a penalty such as L1"):
            MoERegressor(gate=SoftmaxGate(penalty=value)).fit(X, X[:, 0])


def test_a_separable_penalty_is_abstract():
    with pytest.raises(TypeError, match="abstract"):
        SeparablePenalty()
