"""Densities of one row under one expert, with the derivatives that random effects need.

Legend: e the linear predictor, p the logarithm of the dispersion (a standard deviation, a shape).
The third derivatives enter the gradient of Laplace's approximation.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from scipy import special

LARGEST = 300.0  # exponents beyond it are cut: only failing steps meet such predictors


class RowDensity(NamedTuple):
    """Log density less the row's own part, and its derivatives by e and p, element by element."""

    value: np.ndarray
    e: np.ndarray
    ee: np.ndarray
    eee: np.ndarray
    p: np.ndarray
    ep: np.ndarray
    eep: np.ndarray


class Family(NamedTuple):
    """A family on its default link.

    density(e, y, trials, p) -> RowDensity; expert: its name among the experts.
    """

    expert: str
    density: Callable
    has_dispersion: bool
    scales_target: bool


def _gaussian(e, y, trials, p):
    precision = np.exp(-2 * p)
    score = (y - e) * precision
    square = (y - e) * score
    zero = np.zeros_like(e)
    curvature = np.broadcast_to(precision, e.shape)
    value = -0.5 * np.log(2 * np.pi) - p - 0.5 * square
    return RowDensity(value, score, -curvature, zero, square - 1, -2 * score, 2 * curvature)


def _poisson(e, y, trials, p):
    mean = np.exp(np.minimum(e, LARGEST))
    zero = np.zeros_like(e)
    return RowDensity(y * e - mean, y - mean, -mean, -mean, zero, zero, zero)


def _binomial(e, y, trials, p):
    prob = special.expit(e)
    spread = trials * prob * special.expit(-e)
    value = -y * np.logaddexp(0, -e) - (trials - y) * np.logaddexp(0, e)
    zero = np.zeros_like(e)
    third = -spread * (1 - 2 * prob)
    return RowDensity(value, y - trials * prob, -spread, third, zero, zero, zero)


def _gamma(e, y, trials, p):
    shape = np.exp(np.minimum(p, LARGEST))
    log_ratio = np.log(y) - e
    ratio = np.exp(np.minimum(log_ratio, LARGEST))
    base = np.log(shape) + log_ratio - ratio
    score = shape * (ratio - 1)
    value = shape * base - special.gammaln(shape) - np.log(y)
    by_p = shape * (base + 1 - special.digamma(shape))
    return RowDensity(value, score, -shape * ratio, shape * ratio, by_p, score, -shape * ratio)


FAMILIES: dict[str, Family] = {
    "gaussian": Family("gaussian", _gaussian, True, True),
    "poisson": Family("poisson", _poisson, False, False),
    "binomial": Family("binomial", _binomial, False, False),
    "gamma": Family("gamma", _gamma, True, False),
}
