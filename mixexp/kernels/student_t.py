"""Student's t law in logarithms, with derivatives, and the skew-t distribution function."""

from __future__ import annotations

import numpy as np
from scipy import special

UNDERFLOW = 1e-250  # probability below which a series replaces the library's function
TERMS = 30  # of the series there
STEP = 5e-3  # of differences by the logarithm of the degrees of freedom
NEARLY_NORMAL = 1e5  # degrees of freedom beyond which those derivatives are series
NORMAL = 1e3  # degrees of freedom beyond which series replace differences of gammas
HALF_LOG_2PI = 0.5 * np.log(2 * np.pi)

# Nodes of the tanh-sinh rule on (0, 1) (Takahasi and Mori, 1974) as distances from either end:
# powers and boundary layers at the ends do no harm.
_T = np.arange(-3.3, 3.3 + 1e-9, 0.03)
_LEFT = special.expit(np.pi * np.sinh(_T))
_RIGHT = special.expit(-np.pi * np.sinh(_T))
_WEIGHTS = 0.03 * np.pi * np.cosh(_T) * _LEFT * _RIGHT


def log_t_density(m, x):
    """Log density of the t law with m degrees of freedom, finite for all finite x."""
    return _log_constant(m) - 0.5 * (m + 1) * np.log1p(x * x / m)


def _nearly_normal(m, square):
    """Where a series in 1 / m is better than differences: large m, and x^4 far below it."""
    return (m > NEARLY_NORMAL) & (square * square < 1e-6 * m)


def density_slope(m, x):
    """Derivative of `log_t_density` by log m."""
    square = x * x
    tail = m * np.log1p(square / m) - (m + 1) * square / (m + square)
    exact = m * _constant_slope(m) - 0.5 * tail
    # log t = log phi + (x^4 - 2 x^2 - 1) / (4 m) + ...
    series = -0.25 * (square * square - 2 * square - 1) / m
    return np.where(_nearly_normal(m, square), series, exact)


def density_curvature(m, x):
    """Second derivative of `log_t_density` by log m."""
    square = x * x
    share = square / (m + square)
    tail = m * np.log1p(square / m) + m * share * ((m + 1) / (m + square) - 2)
    exact = m * _constant_slope(m) + m**2 * _constant_curvature(m) - 0.5 * tail
    return np.where(_nearly_normal(m, square), -density_slope(m, x), exact)


def _log_constant(m):
    """log of Gamma((m + 1) / 2) / (Gamma(m / 2) sqrt(m pi))."""
    small = np.minimum(m, NORMAL)
    exact = special.gammaln((small + 1) / 2) - special.gammaln(small / 2) - 0.5 * np.log(small / 2)
    return np.where(m < NORMAL, exact, -0.25 / m + 1 / (24 * m**3)) - HALF_LOG_2PI


def _constant_slope(m):
    small = np.minimum(m, NORMAL)
    exact = 0.5 * (special.digamma((small + 1) / 2) - special.digamma(small / 2) - 1 / small)
    return np.where(m < NORMAL, exact, 0.25 / m**2 - 0.125 / m**4)


def _constant_curvature(m):
    small = np.minimum(m, NORMAL)
    gammas = special.polygamma(1, (small + 1) / 2) - special.polygamma(1, small / 2)
    exact = 0.25 * gammas + 0.5 / small**2
    return np.where(m < NORMAL, exact, -0.5 / m**3 + 0.5 / m**5)


def log_t_cdf(m, x):
    """log P(T <= x) of the t law with m degrees of freedom, finite in the far tail."""
    m, x = np.broadcast_arrays(np.asarray(m, float), np.asarray(x, float))
    below = special.stdtr(m, -np.abs(x))
    with np.errstate(divide="ignore"):
        out = np.where(x > 0, np.log1p(-below), np.log(below))
    far = (x < 0) & (below < UNDERFLOW)
    if far.any():
        out[far] = _log_tail(m[far], -x[far])
    return out


def _log_tail(m, x):
    """log P(T > x) for x > 0 so large that it underflows, or nearly so.

    P = density (m + x^2) / (m x) F(1/2, 1; m/2 + 1; -m / x^2), from DLMF 8.17.7 and 15.8.1. There
    the first terms of the series fall fast for every m.
    """
    term = total = np.ones_like(x)
    for n in range(TERMS):
        term = -term * (n + 0.5) / (0.5 * m + 1 + n) * (m / x) / x
        total = total + term
    return log_t_density(m, x) + np.log1p(x * x / m) - np.log(x) + np.log(total)


def log_t_cdf_slopes(m, x, second=False):
    """`log_t_cdf`, and its derivatives: the first (and second) by log m, and by x.

    Returns
    -------
    value, (by_m, by_mm, by_x)
    """
    m, x = np.broadcast_arrays(np.asarray(m, float), np.asarray(x, float))
    here = log_t_cdf(m, x)
    by_x = np.exp(log_t_density(m, x) - here)
    f = [log_t_cdf(m * np.exp(step * STEP), x) for step in (-2, -1, 1, 2)]
    normal = _nearly_normal(m, x * x)
    # log T = log Phi - (phi / Phi) (x^3 + x) / (4 m) + ...
    series = by_x * (x**3 + x) / (4 * m)
    by_m = np.where(normal, series, (8 * (f[2] - f[1]) - (f[3] - f[0])) / (12 * STEP))
    if not second:
        return here, (by_m, None, by_x)
    by_mm = (16 * (f[1] + f[2]) - (f[0] + f[3]) - 30 * here) / (12 * STEP**2)
    return here, (by_m, np.where(normal, -series, by_mm), by_x)


def skew_t_below(h, slant, df):
    """P(Z <= -h), h >= 0, of the standard skew-t law with density 2 t(z; df) T(...; df + 1).

    Twice the probability of a wedge under the bivariate t law, whose radius R has P(R > r) =
    (1 + r^2 / df)^(-df / 2): 1 / pi times the integral of (1 + h^2 / (df cos^2 a))^(-df / 2) over
    a from arctan(slant) to pi / 2. Nothing cancels in it.
    """
    h, slant, df = np.broadcast_arrays(np.asarray(h, float), slant, df)
    steep = np.arctan(np.abs(slant))
    total = _arc(h, steep, np.full(h.shape, 0.5 * np.pi), df)
    left = slant < 0
    if left.any():
        total[left] += 2 * _arc(h[left], np.zeros(left.sum()), steep[left], df[left])
    return total


def _arc(h, low, high, df):
    """The integral between two angles of the first quadrant; peaks are at ``low``."""
    total = np.zeros(h.shape)
    width = high - low
    square, to_right = h * h / df, 0.5 * np.pi - high
    for left, right, weight in zip(_LEFT, _RIGHT, _WEIGHTS, strict=True):
        cosine = np.sin(to_right + width * right) if left > 0.5 else np.cos(low + width * left)
        total += weight * np.exp(-0.5 * df * np.log1p(square / (cosine * cosine)))
    return total * width / np.pi
