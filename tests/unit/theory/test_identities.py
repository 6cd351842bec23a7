"""Differential identities of experts and gates that make over-specified rates slow."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose

from mixexp.experts import GaussianExpert, GLMParams, MultinomialExpert
from mixexp.experts.multinomial import MultinomialParams

STEP = 1e-3
X = np.array([[0.7], [-1.2], [0.3]])
DESIGN = np.column_stack([np.ones(3), X])
Y = np.array([[0.4], [-0.5], [1.1]])


def gaussian(b1, a, b, nu, tau=1.0):
    """(n,) u = exp(b1 x / tau) N(y | a x + b, nu), of the package's density."""
    params = GLMParams(np.array([[[b, a]]]), np.array([[np.sqrt(nu)]]))
    log_density = GaussianExpert().log_density(params, DESIGN, Y, None, None)[:, 0]
    return np.exp(b1 * X[:, 0] / tau + log_density)


def classes(b1, a, b):
    """(n, 3) u = exp(b1 x) P(y | x) for the classes, the last with coefficients zero."""
    coef = np.zeros((1, 3, 2))
    coef[0, :2, 0], coef[0, :2, 1] = a, b
    log_prob = MultinomialExpert().log_class_prob(MultinomialParams(coef), DESIGN)[:, 0]
    return np.exp(b1 * X + log_prob)


def derivative(function, point, *names):
    """Central differences of fourth order by the named arguments, one after the other."""
    if not names:
        return function(**point)
    name, rest = names[0], names[1:]

    def at(step):
        return derivative(function, point | {name: point[name] + step}, *rest)

    return (8 * (at(STEP) - at(-STEP)) - at(2 * STEP) + at(-2 * STEP)) / (12 * STEP)


@pytest.fixture(params=range(5))
def point(request):
    rng = np.random.default_rng(request.param)
    b1, a, b = rng.normal(size=3)
    return {"b1": b1, "a": a, "b": b, "nu": rng.uniform(0.5, 2), "tau": rng.uniform(0.5, 2)}


def test_the_heat_equation(point):
    twice = derivative(gaussian, point, "b", "b")
    assert_allclose(twice, 2 * derivative(gaussian, point, "nu"), rtol=1e-6, atol=1e-7)


def test_gate_and_slope_interact(point):
    mixed = derivative(gaussian, point, "b", "b1")
    slope = derivative(gaussian, point, "a") / point["tau"]
    assert_allclose(mixed, slope, rtol=1e-6, atol=1e-7)


def test_a_temperature_is_a_scale_of_the_gate(point):
    by_tau = derivative(gaussian, point, "tau")
    scale = -point["b1"] / point["tau"] * derivative(gaussian, point, "b1")
    assert_allclose(by_tau, scale, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("c", [0, 1])
def test_gate_and_slopes_of_classes_interact(point, c):
    """d2u / (d b1 d a_c) = du / d b_c for the probability of every class."""
    unit = np.eye(2)[c]
    start = np.array([0.3, -0.7]), np.array([point["a"], point["b"]])

    def along(b1, a, b):
        return classes(b1, start[0] + a * unit, start[1] + b * unit)

    zero = {"b1": point["b1"], "a": 0.0, "b": 0.0}
    mixed = derivative(along, zero, "b1", "a")
    assert_allclose(mixed, derivative(along, zero, "b"), rtol=1e-6, atol=1e-7)
