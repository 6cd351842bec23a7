"""Formulas of the convex penalties of single slopes."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose

from mixexp import L1, L2, AdaptiveL1, ElasticNet

B = np.array([[1.0, -2.0, 0.0], [0.5, 0.0, 3.0]])


def test_values_by_hand():
    assert_allclose(L1(0.5).value(B), 0.5 * 6.5)
    assert_allclose(L2(0.5).value(B), 0.25 * (1 + 4 + 0.25 + 9))
    assert_allclose(ElasticNet(0.5, 0.2).value(B), 0.5 * (0.2 * 6.5 + 0.4 * 14.25))
    assert_allclose(L1(0.5, weights=[2, 0, 1]).value(B), 0.5 * (2 * 1.5 + 3))


def test_the_elastic_net_lies_between_lasso_and_ridge():
    assert_allclose(ElasticNet(0.5, 1.0).value(B), L1(0.5).value(B))
    assert_allclose(ElasticNet(0.5, 0.0).value(B), L2(0.5).value(B))


@pytest.mark.parametrize("ratio", [-0.1, 1.1, "half"], ids=str)
def test_the_share_of_the_lasso_is_checked(ratio):
    with pytest.raises(ValueError, match="l1_ratio"):
        ElasticNet(0.1, ratio).value(B)


def test_adaptive_weights_are_powers_of_the_largest_initial_slope():
    penalty = AdaptiveL1(0.5, initial=B, power=2.0, weights=[1, 1, 4])
    assert_allclose(penalty.column_weights(3), [1, 0.25, 4 / 9])
    assert_allclose(AdaptiveL1(0.5).value(B), L1(0.5).value(B))
    assert_allclose(AdaptiveL1(0.5, initial=[0, 1, 1], floor=0.1).column_weights(3), [10, 1, 1])
    assert_allclose(penalty.take([2]).column_weights(1), [4 / 9])


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"initial": [1.0, 2.0]}, "finite initial slopes of 3 columns"),
        ({"initial": [1.0, 2.0, np.nan]}, "finite initial slopes of 3 columns"),
        ({"initial": [1.0, 2.0, 3.0], "power": -1}, "power >= 0"),
        ({"initial": [1.0, 2.0, 3.0], "floor": 0}, "floor > 0"),
    ],
    ids=["length", "nan", "power", "floor"],
)
def test_adaptive_settings_are_checked(settings, message):
    with pytest.raises(ValueError, match=message):
        AdaptiveL1(0.1, **settings).check(3)
