"""Scales under a lower bound and a bound on their ratio: the maximum, against a fine grid."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose

from mixexp.experts.scales import bounded_scales

LOWEST, RATIO = 1e-3, 1e-2


def surrogate(scales, sigma, mass):
    return -(mass * (np.log(scales) + sigma**2 / (2 * scales**2))).sum(axis=-1)


def best_on_a_grid(sigma, mass):
    """Largest surrogate over floors t, for which clip(sigma, t, t / ratio) are best."""
    floors = np.geomspace(LOWEST, sigma.max(), 20_001)[:, None]
    return surrogate(np.clip(sigma, floors, floors / RATIO), sigma, mass).max()


@pytest.mark.parametrize("smallest", [0.0, 1e-6, 5e-4, 1e-3, 1e-2])
@pytest.mark.parametrize("largest", [0.05, 0.11, 1.0, 30.0])
def test_the_scales_maximise_the_surrogate_within_the_bounds(smallest, largest):
    sigma, mass = np.array([largest, 0.04, smallest]), np.array([9.0, 3.0, 2.0])
    found = bounded_scales(sigma[:, None], mass[:, None], LOWEST, RATIO)[:, 0]
    assert found.min() >= LOWEST and found.min() >= RATIO * found.max() * (1 - 1e-12)
    best = best_on_a_grid(sigma, mass)
    assert_allclose(surrogate(found, sigma, mass), best, rtol=1e-6, atol=1e-6)


def test_scales_inside_the_bounds_are_left_alone():
    sigma = np.array([[1.0], [0.5], [0.02]])
    assert np.array_equal(bounded_scales(sigma, np.ones((3, 1)), LOWEST, RATIO), sigma)


@pytest.mark.parametrize("pull", [(0.0, 0.0, 0.5), (0.4, 0.1, 0.0), (0.2, 0.02, 0.001)])
def test_a_penalty_on_slopes_over_scales_enters_the_maximum(pull):
    sigma, mass, pull = np.array([1.0, 0.4, 1e-3]), np.array([9.0, 3.0, 2.0]), np.array(pull)
    pull = np.minimum(pull, mass * sigma)  # squares are not negative
    squares = mass * sigma**2 - pull * sigma

    def value(scales):
        each = mass * np.log(scales) + pull / scales + squares / (2 * scales**2)
        return -each.sum(axis=-1)

    columns = (array[:, None] for array in (sigma, mass))
    found = bounded_scales(*columns, LOWEST, RATIO, pull[:, None])[:, 0]
    assert found.min() >= RATIO * found.max() * (1 - 1e-12)
    floors = np.geomspace(LOWEST, sigma.max(), 200_001)[:, None]
    best = value(np.clip(sigma, floors, floors / RATIO)).max()
    assert value(found) >= best - 1e-9 * abs(best)
