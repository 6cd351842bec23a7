"""Formulas of the concave penalties: they are integrals of their published derivatives."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy import integrate

from mixexp import L1, MCP, SCAD


def mcp_derivative(t, alpha, gamma):
    """Zhang (2010), equation 2.1."""
    return max(alpha - t / gamma, 0)


def scad_derivative(t, alpha, gamma):
    """Fan and Li (2001), equation 2.7."""
    return alpha if t <= alpha else max(gamma * alpha - t, 0) / (gamma - 1)


@pytest.mark.parametrize("size", [0.05, 0.2, 0.5, 1.0, 4.0])
@pytest.mark.parametrize(
    ("penalty", "derivative"),
    [(MCP(0.3, 2.5), mcp_derivative), (SCAD(0.3, 3.7), scad_derivative)],
    ids=["mcp", "scad"],
)
def test_value_is_the_integral_of_the_published_derivative(penalty, derivative, size):
    settings = penalty.alpha, penalty.gamma
    kinks = [k for k in (0.3, 0.3 * penalty.gamma) if k < size]
    by_hand, _ = integrate.quad(derivative, 0, size, args=settings, points=kinks or None)
    assert_allclose(penalty.value(np.array([[-size]])), by_hand, rtol=1e-9)
    assert_allclose(penalty.majoriser(np.array([[size]])).l1, [[derivative(size, *settings)]])


@pytest.mark.parametrize("cls", [MCP, SCAD])
def test_large_gamma_is_the_lasso_and_large_slopes_are_free(cls):
    slopes = np.array([[0.5, -1.0, 0.1]])
    assert_allclose(cls(0.3, 1e9).value(slopes), L1(0.3).value(slopes), rtol=1e-6)
    large = np.array([[2.0, -5.0]])
    assert np.array_equal(cls(0.3).prox(large, 1.0), large)
    assert not cls(0.3).majoriser(large).l1.any()


@pytest.mark.parametrize(("cls", "least"), [(MCP, 1), (SCAD, 2)], ids=["mcp", "scad"])
def test_gamma_is_bounded_below(cls, least):
    with pytest.raises(ValueError, match=f"gamma > {least}"):
        cls(0.3, gamma=least).value(np.ones((1, 1)))
