"""Shapes that maximise the gamma surrogate, without bounds and under a bound on their ratio."""

from __future__ import annotations

import itertools

import numpy as np
from scipy import special
from scipy.optimize import brentq

LOWEST_SHAPE = 1e-6


def gamma_shape(mean_extra):
    """Maximum-likelihood shape a: log a - digamma(a) = -mean(log(y / mu) - y / mu + 1).

    Newton's method on log a from the bound of Minka (2002, "Estimating a gamma distribution"),
    which converges for every argument; six steps reach rounding.
    """
    s = np.clip(-np.asarray(mean_extra, dtype=float), 1e-12, 1 / LOWEST_SHAPE)
    a = (3 - s + np.sqrt((s - 3) ** 2 + 24 * s)) / (12 * s)
    for _ in range(6):
        value = np.log(a) - special.digamma(a) - s
        slope = 1 - a * special.polygamma(1, a)  # derivative with respect to log a
        a = a * np.exp(np.clip(-value / slope, -2, 2))
    return a


def bounded_shapes(shape, extra, mass, highest, spread):
    """Maximisers of the gamma surrogate under bounds on the shapes and on their ratio.

    The surrogate is sum_k mass_k (a_k log a_k - a_k - log Gamma(a_k)) + a_k extra_k; the bounds
    are ``LOWEST_SHAPE <= a_k <= highest`` and ``a_k <= spread * min_j a_j``. For a smallest shape
    t the maximiser is clip(shape, t, spread t).

    Parameters
    ----------
    shape, extra, mass : (..., K, m)
        Unbounded maximisers; the statistics, both 0 for an expert that has no rows and whose
        ``shape`` only has to obey the bounds.
    """
    out = np.clip(shape, LOWEST_SHAPE, highest)
    columns = [
        np.moveaxis(array, -2, -1).reshape(-1, shape.shape[-2]) for array in (out, extra, mass)
    ]
    flat = columns[0].copy()
    for i in np.flatnonzero(flat.max(axis=1) > spread * flat.min(axis=1)):
        flat[i] = _ratio_bounded(columns[0][i], columns[1][i], columns[2][i], spread)
    moved = np.moveaxis(out, -2, -1)
    return np.moveaxis(flat.reshape(moved.shape), -1, -2)


def _ratio_bounded(shape, extra, mass, spread):
    def slope(log_t):
        """Derivative of the surrogate by the logarithm of the smallest shape t."""
        t = np.exp(log_t)
        a = np.clip(shape, t, spread * t)
        rise = a * (mass * (np.log(a) - special.digamma(a)) + extra)
        return rise[(shape < t) | (shape > spread * t)].sum()

    # between two edges the same shapes are moved, and the surrogate is concave in t
    edges = np.log(np.unique(np.concatenate([shape, shape / spread])))
    tops = []
    for low, high in itertools.pairwise(edges):
        inside = 1e-9 * (high - low)
        low, high = low + inside, high - inside
        if slope(low) <= 0 or slope(high) >= 0:
            tops += [low, high]
        else:
            tops.append(brentq(slope, low, high, xtol=1e-14, rtol=1e-14))
    smallest = np.exp(tops[::-1])[:, None]  # of two alike the larger: it moves fewer shapes down
    found = np.clip(shape, smallest, spread * smallest)
    return found[int(np.argmax(_surrogate(found, extra, mass)))]


def _surrogate(shape, extra, mass):
    value = mass * (shape * np.log(shape) - shape - special.gammaln(shape)) + shape * extra
    return value.sum(axis=-1)
