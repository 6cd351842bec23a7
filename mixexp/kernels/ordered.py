"""Probabilities between two thresholds of a latent law, and their derivatives.

log P = log(F(b) - F(a)) for a < b, where a may be minus and b plus infinity; F is logistic, normal
or the law of a logarithm of an exponential. Differences are formed so that neither tail loses
digits. With u = f(b) / P, v = f(a) / P and s the slope of log f, the first derivatives by (b, a)
are u and -v, the second ones u (s(b) - u), -v (s(a) + v) and u v.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy import special

from .reference import HALF_LOG_2PI


class Between(NamedTuple):
    """log P, u, v, and the second derivatives by b and by a; zero where the end is infinite."""

    value: np.ndarray
    upper: np.ndarray
    lower: np.ndarray
    curved_upper: np.ndarray
    curved_lower: np.ndarray


def log_between(link, a, b):
    """log(F(b) - F(a)), element by element."""
    with np.errstate(all="ignore"):
        return _LOG_BETWEEN[link](a, b)


def between(link, a, b) -> Between:
    """`log_between` and its derivatives."""
    with np.errstate(all="ignore"):
        value = _LOG_BETWEEN[link](a, b)
        density, slope = _DENSITIES[link]
        u, v = np.exp(density(b) - value), np.exp(density(a) - value)
        curved_b, curved_a = u * (slope(b) - u), -v * (slope(a) + v)
        if link == "cloglog":  # there s(a) + v is a small difference of large numbers
            curved_a = -v * (1 + np.exp(a) / np.expm1(_width(a, b)))
        below, above = np.isfinite(a), np.isfinite(b)
        parts = ((u, above), (v, below), (curved_b, above), (curved_a, below))
        return Between(value, *(np.where(here, part, 0.0) for part, here in parts))


def _logistic(a, b):
    # F(b) - F(a) = F(b) (1 - F(a)) (1 - exp(a - b))
    return special.log_expit(b) + special.log_expit(-a) + np.log(-np.expm1(a - b))


def _normal(a, b):
    # the tail in which both are small numbers
    flip = a + b > 0
    low, high = np.where(flip, -b, a), np.where(flip, -a, b)
    top = special.log_ndtr(high)
    return top + np.log(-np.expm1(special.log_ndtr(low) - top))


def _complementary(a, b):
    # exp(-e^a) - exp(-e^b)
    return -np.exp(a) + np.log(-np.expm1(-_width(a, b)))


def _width(a, b):
    """e^b - e^a."""
    return np.where(np.isneginf(a), np.exp(b), np.exp(a) * np.expm1(b - a))


_LOG_BETWEEN = {"logit": _logistic, "probit": _normal, "cloglog": _complementary}
_DENSITIES = {
    "logit": (lambda z: special.log_expit(z) + special.log_expit(-z), lambda z: np.tanh(-z / 2)),
    "probit": (lambda z: -0.5 * z * z - HALF_LOG_2PI, lambda z: -z),
    "cloglog": (lambda z: z - np.exp(z), lambda z: 1 - np.exp(z)),
}
