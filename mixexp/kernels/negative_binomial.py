"""The negative binomial law by the logarithms of mean and size, also where it is nearly Poisson.

With t = 1 / size, log f = sum_{i < y} log(1 + i t) - (y + 1 / t) log(1 + mean t) + y log(mean)
- log(y!). Written with gamma functions these sums are differences of large numbers: at a size of
1e6 no digit of the score by the size is left. Stirling's series of the differences themselves keep
all digits.

Legend: m mean, r size, t = 1 / r, v = y t, u = m t; S1 = sum i / (1 + i t) and
S2 = sum i^2 / (1 + i t)^2 over i < y.
"""

from __future__ import annotations

import numpy as np
from scipy import special

LARGE = 30.0  # sizes from which the series are used; their next term is below 1e-13 there
# (log f's, S1's) coefficients of t^k: B_{k+2} / ((k + 1) (k + 2)) and -B_{k+2} / (k + 2)
_STIRLING = {
    0: (1 / 12, 1 / 12),
    2: (-1 / 360, -1 / 120),
    4: (1 / 1260, 1 / 252),
    6: (-1 / 1680, -1 / 240),
}
SMALL = 0.1  # arguments below which the logarithm's own series is used


def log_mass(log_mean, log_size, y):
    """Log probabilities of counts, element by element."""
    r = np.exp(log_size)
    log_ratio = log_mean - log_size
    spread = np.logaddexp(0.0, log_ratio)
    return _by_size(_log_rising, r, y) + y * (log_ratio - spread) - r * spread


def score(log_mean, log_size, y):
    """First derivatives of `log_mass` by log mean and log size."""
    m, r = np.exp(log_mean), np.exp(log_size)
    return r * (y - m) / (m + r), -_by_inverse_size(m, r, y)[0]


def hessian(log_mean, log_size, y):
    """Second derivatives: by log mean, by both, by log size."""
    m, r = np.exp(log_mean), np.exp(log_size)
    share = r / (m + r)
    first, second = _by_inverse_size(m, r, y)
    return -(y + r) * (1 - share) * share, (y - m) * (1 - share) * share, first + second


def _by_inverse_size(m, r, y):
    """First derivative of log f by t, times t, and the second one, times t^2."""
    t = 1 / r
    u, share = m * t, r / (m + r)
    one, two = _by_size(_sums, r, y)
    bend = _bend(u)
    first = one + m * m * (share - bend) - y * m * share
    # u times the derivative of share - bend: a difference, which is small beside the others
    slope = -u * share**2 - _bend_slope(u, bend)
    second = -two + m * m * r * slope + y * (m * share) ** 2
    return t * first, t * t * second


def _by_size(function, r, y):
    """``function(r, y, large)`` with large sizes and the others each by their own formulas."""
    large = r >= LARGE
    if large.all() or not large.any():
        return function(r, y, bool(large.all()))
    small = function(np.minimum(r, LARGE), y, False)
    return np.where(large, function(np.maximum(r, LARGE), y, True), small)


def _log_rising(r, y, large):
    """log (Gamma(y + r) / (Gamma(r) y!))."""
    if not large:
        some = np.maximum(y, 1.0)
        return np.where(y > 0, -special.betaln(some, r) - np.log(some), 0.0)
    t = 1 / r
    v = y * t
    value = (y - 0.5) * np.log1p(v) - y * v * _bend(v)
    for k, (coefficient, _) in _STIRLING.items():
        value = value + coefficient * t ** (k + 1) * np.expm1(-(k + 1) * np.log1p(v))
    return value + y * np.log(r) - special.gammaln(y + 1)


def _sums(r, y, large):
    """S1 and S2, stacked."""
    if not large:
        gammas = special.digamma(y + r) - special.digamma(r)
        second = special.zeta(2.0, r) - special.zeta(2.0, y + r)  # of trigamma functions
        return np.stack([r * (y - r * gammas), r * r * (y - 2 * r * gammas + r * r * second)])
    t = 1 / r
    v = y * t
    bend, inside = _bend(v), 1 / (1 + v)
    one = y * y * bend - 0.5 * y * inside
    two = -(y * y) * r * _bend_slope(v, bend) - 0.5 * (y * inside) ** 2
    for k, (_, coefficient) in _STIRLING.items():
        power = inside ** (k + 2)
        one = one + coefficient * t**k * (power - 1)
        two = two + coefficient * t**k * (k + 2) * y * power * inside
        if k:
            two = two - coefficient * k * t ** (k - 1) * (power - 1)
    return np.stack([one, two])


def _bend(v):
    """(v - log(1 + v)) / v^2, which is 1 / 2 at 0."""
    s = v / (2 + v)
    square = s * s
    series = 1 / 13 + square / 15
    for denominator in (11, 9, 7, 5, 3):
        series = 1 / denominator + square * series
    near = 1 / (2 + v) - 2 * s * series / (2 + v) ** 2
    far = np.maximum(v, SMALL)
    return np.where(v < SMALL, near, (far - np.log1p(far)) / far**2)


def _bend_slope(v, bend):
    """v times the derivative of `_bend`."""
    return 1 / (1 + v) - 2 * bend
