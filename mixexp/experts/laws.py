"""What follows from a distribution function and quantiles: densities and expected excesses.

Families with closed forms have their own; these serve all others, element by element.
"""

from __future__ import annotations

import numpy as np
from scipy import special

# Nodes u, 1 - u and weights of the tanh-sinh rule on (0, 1) (Takahasi and Mori, 1974): it does not
# mind that quantiles grow without bound at one end.
_T = np.arange(-3.6, 3.6 + 1e-9, 0.1)
_LEFT = special.expit(np.pi * np.sinh(_T))
_RIGHT = special.expit(-np.pi * np.sinh(_T))
_WEIGHTS = 0.1 * np.pi * np.cosh(_T) * _LEFT * _RIGHT
LARGEST_PROBABILITY = 1 - 2.0**-53
MOST_TERMS = 20_000  # of a sum; beyond them the sum is a trapezoidal rule


def normal_density(y, mean, scale):
    """Density of a normal law."""
    return np.exp(-0.5 * ((y - mean) / scale) ** 2) / (scale * np.sqrt(2 * np.pi))


def normal_excess(threshold, mean, scale):
    """E[(Y - threshold)+] of a normal law."""
    z = (threshold - mean) / scale
    density = np.exp(-0.5 * z * z) / np.sqrt(2 * np.pi)
    return scale * np.maximum(density - z * special.ndtr(-z), 0.0)


def density_of(cdf, quantile, y, discrete):
    """Steps of the distribution function, or its derivative.

    The derivative is a central difference of fourth order, its step a small share of the distance
    between the quartiles (and of y, for laws of positive numbers).
    """
    if discrete:
        return np.where(y == np.floor(y), cdf(y) - cdf(y - 1), 0.0)
    width = quantile(0.75) - quantile(0.25)
    step = np.maximum(np.minimum(2e-3 * width, 0.02 * np.abs(y)), 1e-7 * width)
    near = cdf(y + step) - cdf(y - step)
    far = cdf(y + 2 * step) - cdf(y - 2 * step)
    return np.maximum((8 * near - far) / (12 * step), 0.0)


def excess_of(cdf, quantile, threshold, discrete):
    """E[(Y - c)+] = integral of (Q(p) - c) over p from P(Y <= c) to 1.

    For counts the sum of P(Y > y) over y from c, as far as 1e-15 of probability.
    """
    return (_summed if discrete else _integrated)(cdf, quantile, threshold)


def _integrated(cdf, quantile, threshold):
    below = np.asarray(cdf(threshold), dtype=float)
    total = np.zeros_like(below)
    for left, right, weight in zip(_LEFT, _RIGHT, _WEIGHTS, strict=True):
        p = np.where(below + (1 - below) * left < 0.5, below + (1 - below) * left, 0.0)
        p = np.where(p > 0, p, 1 - (1 - below) * right)
        p = np.clip(p, 1e-300, LARGEST_PROBABILITY)
        total += weight * np.maximum(quantile(p) - threshold, 0.0)
    return (1 - below) * total


def _summed(cdf, quantile, threshold):
    first = np.ceil(threshold)
    last = np.maximum(quantile(1 - 1e-15), first)
    partial = (first - threshold) * (1 - cdf(first - 1))  # up to the next whole number
    least = np.minimum(np.maximum(quantile(1e-15) - 1, first), last)
    total = partial + (least - first)  # where P(Y > y) is one
    width = np.maximum(np.ceil((last - least) / MOST_TERMS), 1.0)
    terms = int(np.nanmax((last - least) / width, initial=0)) + 1
    here = 1 - cdf(least)
    for i in range(1, terms + 1):
        # the sum over ``width`` neighbours of a function that is linear between their ends
        there = 1 - cdf(least + i * width)
        total = total + width * (here + there) / 2 + (here - there) / 2
        here = there
    return total
