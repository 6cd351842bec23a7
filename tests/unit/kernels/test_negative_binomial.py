"""The negative binomial law against 50 decimal digits, and its limit, the Poisson law."""

from __future__ import annotations

from decimal import Decimal, localcontext

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy import stats

from mixexp.kernels import negative_binomial

SIZES = (np.exp(-6.0), 0.5, 5.0, 29.99, 30.01, 1e3, 1e6, 6e7)
MEANS = (1e-3, 0.5, 3.0, 200.0)
COUNTS = np.array([0.0, 1.0, 2.0, 7.0, 60.0, 700.0])


def exactly(mean, size, count):
    """log f and its two derivatives by log size, as sums in decimal numbers."""
    with localcontext() as context:
        context.prec = 50
        m, r, y = Decimal(float(mean)), Decimal(float(size)), int(count)
        t = 1 / r
        u = m * t
        value = sum(((1 + i * t).ln() - Decimal(i + 1).ln() for i in range(y)), Decimal(0))
        value += y * m.ln() - (y + r) * (1 + u).ln()
        log = (1 + u).ln()
        first = sum((i / (1 + i * t) for i in range(y)), Decimal(0))
        first += r * r * log - (y + r) * m / (1 + u)
        second = -sum(((i / (1 + i * t)) ** 2 for i in range(y)), Decimal(0))
        second += -2 * r**3 * log + 2 * r * r * m / (1 + u) + (y + r) * m * m / (1 + u) ** 2
        return float(value), float(-t * first), float(t * first + t * t * second)


@pytest.mark.parametrize("size", SIZES)
def test_every_digit_is_kept_at_any_size(size):
    for mean in MEANS:
        eta = np.log(mean), np.log(size)
        wanted = np.array([exactly(*np.exp(eta), y) for y in COUNTS]).T
        value = negative_binomial.log_mass(*eta, COUNTS)
        slope = negative_binomial.score(*eta, COUNTS)[1]
        bend = negative_binomial.hessian(*eta, COUNTS)[2]
        terms = np.minimum(COUNTS + mean, (COUNTS + COUNTS**2 + mean**2) / size)
        small = 1e-15 * size if size < negative_binomial.LARGE else 0.0
        slack = 3e-13 * terms + small
        assert np.all(np.abs(value - wanted[0]) <= 1e-14 * (1 + COUNTS + mean))
        assert np.all(np.abs(slope - wanted[1]) <= slack)
        assert np.all(np.abs(bend - wanted[2]) <= slack)


def test_the_other_derivatives_are_differences():
    y, (log_mean, log_size) = COUNTS[:, None], np.meshgrid(np.log(MEANS), np.log(SIZES))
    eta, h = (log_mean.ravel(), log_size.ravel()), 1e-5
    by_mean, by_both, _ = negative_binomial.hessian(*eta, y)
    up, down = (negative_binomial.score(eta[0] + s * h, eta[1], y) for s in (1, -1))
    scale = 1 + y + np.exp(eta[0])
    for exact, a, b in zip((by_mean, by_both), up, down, strict=True):
        assert np.all(np.abs((a - b) / (2 * h) - exact) <= 1e-9 * scale)
    up, down = (negative_binomial.log_mass(eta[0] + s * h, eta[1], y) for s in (1, -1))
    slope = negative_binomial.score(*eta, y)[0]
    assert np.all(np.abs((up - down) / (2 * h) - slope) <= 1e-8 * scale)


@pytest.mark.parametrize("size", [1e4, 1e6])
def test_a_large_size_is_the_poisson_law_and_its_first_correction(size):
    """log f = log Poisson + ((y - m)^2 - y) / (2 size) + O(size^-2)."""
    y = COUNTS[:4]
    for mean in MEANS[:3]:
        more = negative_binomial.log_mass(np.log(mean), np.log(size), y)
        more = (more - stats.poisson.logpmf(y, mean)) * size
        assert_allclose(more, 0.5 * ((y - mean) ** 2 - y), atol=1e-15 * size * 30 + 200 / size)
        slope = negative_binomial.score(np.log(mean), np.log(size), y)[1]
        assert_allclose(size * slope, -0.5 * ((y - mean) ** 2 - y), atol=400 / size)
