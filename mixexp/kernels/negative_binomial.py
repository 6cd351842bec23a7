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
SMALL = 0.01  # arguments below which the logarithm's own series is used
SHIFT = 10  # from where the series of the trigamma function is used


def log_mass(log_mean, log_size, y):
    """Log probabilities of counts, element by element."""
    r = np.exp(log_size)
    log_ratio = log_mean - log_size
    spread = np.logaddexp(0.0, log_ratio)
    rising = _by_size(_rising, _rising_of_large, r, y)
    return rising + y * (log_ratio - spread) - r * spread


def score(log_mean, log_size, y):
    """First derivatives of `log_mass` by log mean and log size."""
    m, r = np.exp(log_mean), np.exp(log_size)
    return r * (y - m) / (m + r), _by_size(_slope, _slope_of_large, r, y, m)


def hessian(log_mean, log_size, y):
    """Second derivatives: by log mean, by both, by log size."""
    m, r = np.exp(log_mean), np.exp(log_size)
    share = r / (m + r)
    by_size = _by_size(_curvature, _curvature_of_large, r, y, m)
    return -(y + r) * (1 - share) * share, (y - m) * (1 - share) * share, by_size


def _by_size(small, large, r, *others):
    """Values of ``large(r, *others)`` at large sizes and of ``small`` at the others."""
    beyond = r >= LARGE
    if beyond.all():
        return large(r, *others)
    if not beyond.any():
        return small(r, *others)
    if r.shape[0] == 1 and r.ndim == 2:  # every column has a size of its own
        columns = beyond[0]
        shape = np.broadcast_shapes(r.shape, *(np.shape(other) for other in others))
        out = np.empty(shape)
        wide = [np.broadcast_to(other, shape) for other in others]
        for function, own in ((large, columns), (small, ~columns)):
            out[:, own] = function(r[:, own], *(other[:, own] for other in wide))
        return out
    least, most = np.maximum(r, LARGE), np.minimum(r, LARGE)
    return np.where(beyond, large(least, *others), small(most, *others))


# --- sizes whose gamma functions are no larger than what is sought --------------------------------


def _rising(r, y):
    """log (Gamma(y + r) / (Gamma(r) y!))."""
    some = np.maximum(y, 1.0)
    return np.where(y > 0, -special.betaln(some, r) - np.log(some), 0.0)


def _slope(r, y, m):
    """Derivative of log f by log r."""
    gammas = special.digamma(y + r) - special.digamma(r)
    return r * (gammas - np.log1p(m / r) - (y - m) / (m + r))


def _curvature(r, y, m):
    """Second derivative of log f by log r."""
    off = (y - m) / (m + r)
    gammas = _trigamma(y + r) - _trigamma(r)
    return _slope(r, y, m) + r * r * (gammas + (m / r + off) / (m + r))


# --- large sizes ----------------------------------------------------------------------------------


def _rising_of_large(r, y):
    t = 1 / r
    v = y * t
    value = (y - 0.5) * np.log1p(v) - y * v * _bend(v)
    for k, (coefficient, _) in _STIRLING.items():
        value = value + coefficient * t ** (k + 1) * np.expm1(-(k + 1) * np.log1p(v))
    return value + y * np.log(r) - special.gammaln(y + 1)


def _slope_of_large(r, y, m):
    share = r / (m + r)
    return -(_sum(r, y) + m * m * (share - _bend(m / r)) - y * m * share) / r


def _curvature_of_large(r, y, m):
    u, share = m / r, r / (m + r)
    # u times the derivative of share - bend: a difference, which is small beside the others
    slope = -u * share**2 - _bend_slope(u, _bend(u))
    second = m * m * r * slope + y * (m * share) ** 2 - _square_sum(r, y)
    return second / r**2 - _slope_of_large(r, y, m)


def _sum(r, y):
    """S1."""
    t = 1 / r
    inside = 1 / (1 + y * t)
    value = y * y * _bend(y * t) - 0.5 * y * inside
    for k, (_, coefficient) in _STIRLING.items():
        value = value + coefficient * t**k * (inside ** (k + 2) - 1)
    return value


def _square_sum(r, y):
    """S2."""
    t = 1 / r
    v, inside = y * t, 1 / (1 + y * t)
    value = -(y * y) * r * _bend_slope(v, _bend(v)) - 0.5 * (y * inside) ** 2
    for k, (_, coefficient) in _STIRLING.items():
        power = inside ** (k + 2)
        value = value + coefficient * t**k * (k + 2) * y * power * inside
        if k:
            value = value - coefficient * k * t ** (k - 1) * (power - 1)
    return value


def _trigamma(x):
    """Second derivative of log Gamma; scipy's goes by a zeta function, which takes ten times as
    long."""
    value = np.zeros(np.shape(x))
    for i in range(SHIFT):
        value = value + 1 / (x + i) ** 2
    x = x + SHIFT
    square = 1 / (x * x)
    series = 1 / 6 - square * (1 / 30 - square * (1 / 42 - square * (1 / 30 - square * 5 / 66)))
    return value + (1 + 0.5 / x + square * series) / x


def _bend(v):
    """(v - log(1 + v)) / v^2, which is 1 / 2 at 0."""
    inside = 1 / (2 + v)
    s = v * inside
    square = s * s
    near = inside - 2 * s * inside**2 * (1 / 3 + square * (1 / 5 + square / 7))
    far = np.maximum(v, SMALL)
    return np.where(v < SMALL, near, (far - np.log1p(far)) / (far * far))


def _bend_slope(v, bend):
    """v times the derivative of `_bend`."""
    return 1 / (1 + v) - 2 * bend
