"""Shapes of gamma experts under a bound on their ratio: the maximum, against a fine grid."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy.special import digamma, gammaln

from mixexp.experts.shapes import LOWEST_SHAPE, bounded_shapes, gamma_shape

HIGHEST, SPREAD = 1e6, 1e4


def surrogate(shape, extra, mass):
    return (mass * (shape * np.log(shape) - shape - gammaln(shape)) + shape * extra).sum(axis=-1)


def problem(shape, mass):
    """The statistics of which these shapes are the maximisers."""
    shape, mass = np.array(shape), np.array(mass)
    return shape, mass * (digamma(shape) - np.log(shape)), mass


@pytest.mark.parametrize(
    ("shapes", "masses"),
    [
        ([2.0, 5.0, 7e4], [9.0, 3.0, 2.0]),
        ([2.0, 5.0, 7e4], [0.1, 3.0, 50.0]),
        ([0.01, 3e3, 9e5], [1.0, 1.0, 1.0]),
        ([0.01, 0.02, 3e3, 9e5], [1.0, 4.0, 3.0, 1.0]),
        ([1e-4, 5e6, 5e6], [1.0, 1.0, 1.0]),
    ],
)
def test_the_shapes_maximise_the_surrogate_within_the_bounds(shapes, masses):
    shape, extra, mass = problem(shapes, masses)
    found = bounded_shapes(*(a[:, None] for a in (shape, extra, mass)), HIGHEST, SPREAD)[:, 0]
    assert LOWEST_SHAPE <= found.min() and found.max() <= HIGHEST
    assert found.max() <= SPREAD * found.min() * (1 + 1e-12)
    smallest = np.geomspace(1e-6, 1e6, 200_001)[:, None]
    grid = np.clip(np.minimum(shape, HIGHEST), smallest, SPREAD * smallest)
    grid = grid[grid.max(axis=1) <= HIGHEST]
    best = surrogate(grid, extra, mass).max()
    assert_allclose(surrogate(found, extra, mass), best, rtol=1e-6)
    assert surrogate(found, extra, mass) >= best - 1e-9 * abs(best)


def test_shapes_inside_the_bounds_are_left_alone():
    shape, extra, mass = (a[:, None] for a in problem([2.0, 5.0, 1e4], [1.0, 1.0, 1.0]))
    assert np.array_equal(bounded_shapes(shape, extra, mass, HIGHEST, SPREAD), shape)
    assert_allclose(gamma_shape(extra / mass), shape, rtol=1e-9)


def test_an_expert_without_rows_follows_the_others():
    shape, extra, mass = problem([2.0, 3e5], [1.0, 1.0])
    mass[1] = extra[1] = 0.0
    found = bounded_shapes(*(a[:, None] for a in (shape, extra, mass)), HIGHEST, SPREAD)[:, 0]
    assert_allclose(found, [2.0, 2e4], rtol=1e-6)
