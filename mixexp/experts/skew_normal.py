"""Skew-normal expert: a normal law leaning to one side."""

from __future__ import annotations

import numpy as np
from scipy import special

from .._component import EXPERTS, register
from ..kernels.reference import HALF_LOG_2PI
from ..kernels.rows import stacked
from .distributional import DistributionalExpert, DistributionalParams, RowParameter, root_of

STEEPEST = 60.0
NEARLY_SYMMETRIC = 0.5  # slants around the point where all scores vanish
ROOT_2_PI = np.sqrt(2 / np.pi)


@register(EXPERTS, "skew_normal")
class SkewNormalExpert(DistributionalExpert):
    """y | x = a_k + b_k' x + s_k Z, Z skew-normal with slant l_k: f = (2 / s) phi(d) Phi(l d).

    A slant of zero is the Gaussian expert. `predict` gives the mean, location + s d sqrt(2 / pi)
    with d = l / sqrt(1 + l^2) (Azzalini, 1985, "A class of distributions which includes the normal
    ones", Scand. J. Stat. 12; Chamroukhi, 2016, "Skew-normal mixture of experts", IJCNN).

    Parameters
    ----------
    penalty : L2 or None
        Penalty on the location's slopes, of the standardised columns.
    scale_features : None, "all" or sequence of int or str
        Columns, among the experts', that log s_k depends on linearly.
    min_scale : float, default=1e-3
        Lower bound of s_k in standard deviations of the target.
    max_ratio : float, default=1e-2
        Lower bound of s_k over the largest scale.
    """

    parameters = (
        RowParameter("location", "identity"),
        RowParameter("scale", "log", -30.0, 30.0, "low"),
        RowParameter("slant", "identity", -STEEPEST, STEEPEST),
    )
    scales_target = True
    contains = "gaussian"
    linked_mean = False
    takes = ("offset",)

    def __init__(self, penalty=None, scale_features=None, min_scale=1e-3, max_ratio=1e-2):
        self.penalty = penalty
        self.scale_features = scale_features
        self.min_scale = min_scale
        self.max_ratio = max_ratio

    def initial_parameters(self, y, weight, offset, trials):
        mean = np.average(y, weights=weight)
        spread = np.sqrt(np.average((y - mean) ** 2, weights=weight)) or 1.0
        skewness = np.average(((y - mean) / spread) ** 3, weights=weight)
        # never the slant zero, where its score vanishes together with the location's
        return from_moments(mean, spread, np.copysign(max(abs(skewness), 0.1), skewness))

    def alternatives(self, params):
        """Nearly symmetric experts leaning to the left, and to the right, with their moments."""
        return leaning(params)

    def log_density_unit(self, eta, y, trials):
        d = (y - eta[0]) * np.exp(-eta[1])
        return np.log(2) - HALF_LOG_2PI - eta[1] - 0.5 * d * d + special.log_ndtr(eta[2] * d)

    def score_unit(self, eta, y, trials):
        scale = np.exp(eta[1])
        d, slant = (y - eta[0]) / scale, eta[2]
        z = slant * d
        ratio = np.exp(-0.5 * z * z - HALF_LOG_2PI - special.log_ndtr(z))
        lean = d - slant * ratio
        return stacked(lean / scale, d * lean - 1, d * ratio)

    def mean_of(self, theta, trials):
        location, scale, slant = theta
        return location + scale * ROOT_2_PI * slant / np.sqrt(1 + slant**2)

    def variance_of(self, theta, trials):
        _, scale, slant = theta
        return scale**2 * (1 - ROOT_2_PI**2 * slant**2 / (1 + slant**2))

    def cdf_of(self, y, theta, trials):
        location, scale, slant = theta
        d = (y - location) / scale
        return np.clip(special.ndtr(d) - 2 * special.owens_t(d, slant), 0.0, 1.0)

    def survival_of(self, y, theta, trials):
        location, scale, slant = theta
        return self.cdf_of(-y, (-location, scale, -slant), trials)

    def quantile_of(self, probability, theta, trials):
        location, scale, slant = theta
        unit = (np.zeros_like(scale), np.ones_like(scale), slant)
        start = np.zeros(np.broadcast(np.asarray(probability), *theta).shape)
        z = root_of(lambda d: self.cdf_of(d, unit, trials), probability, start)
        return location + scale * z

    def draw_of(self, theta, trials, rng):
        location, scale, slant = theta
        delta = slant / np.sqrt(1 + slant**2)
        half, rest = np.abs(rng.standard_normal(delta.shape)), rng.standard_normal(delta.shape)
        return location + scale * (delta * half + np.sqrt(1 - delta**2) * rest)


def leaning(params):
    """The parameters with nearly symmetric experts leaning to either side, if there are any.

    Intercepts of location, scale and slant come first, second and third.
    """
    slant = params.coef[:, 2, 0]
    if not np.any(np.abs(slant) < NEARLY_SYMMETRIC):
        return []
    return [DistributionalParams(_leaning(params.coef, sign)) for sign in (-1, 1)]


def _leaning(coef, sign):
    coef = coef.copy()
    for own in coef:
        slant = own[2, 0]
        if abs(slant) >= NEARLY_SYMMETRIC:
            continue
        delta = slant / np.sqrt(1 + slant**2)
        scale = np.exp(own[1, 0])
        mean = own[0, 0] + scale * ROOT_2_PI * delta
        spread = scale * np.sqrt(1 - (ROOT_2_PI * delta) ** 2)
        own[0, 0], scale, own[2, 0] = from_moments(mean, spread, 0.3 * sign)
        own[1, 0] = np.log(scale)
    return coef


def from_moments(mean, spread, skewness):
    """Location, scale and slant of a skew-normal law with these moments."""
    skewness = np.clip(skewness, -0.9, 0.9)
    cube = np.cbrt(2 * abs(skewness) / (4 - np.pi))
    delta = np.copysign(np.sqrt(np.pi / 2) * cube / np.sqrt(1 + cube**2), skewness)
    delta = np.clip(delta, -0.99, 0.99)
    scale = spread / np.sqrt(1 - ROOT_2_PI**2 * delta**2)
    return mean - scale * ROOT_2_PI * delta, scale, delta / np.sqrt(1 - delta**2)
