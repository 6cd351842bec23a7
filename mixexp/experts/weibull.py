"""Weibull expert: durations and losses."""

from __future__ import annotations

import numpy as np
from scipy import special

from .._component import EXPERTS, register
from ..kernels.rows import stacked
from .distributional import DistributionalExpert, RowParameter

EULER = 0.5772156649015329


@register(EXPERTS, "weibull")
class WeibullExpert(DistributionalExpert):
    """y | x Weibull with log scale a_k + b_k' x and shape c_k: P(Y > y) = exp(-(y / scale)^c_k).

    An accelerated failure-time model inside every expert: a slope b moves all quantiles by the
    factor exp(b). Its mean is scale Gamma(1 + 1 / c_k).

    Parameters
    ----------
    penalty : L2 or None
        Penalty on the slopes of the standardised columns.
    shape_features : None, "all" or sequence of int or str
        Columns, among the experts', that log c_k depends on linearly.
    max_ratio : float, default=0.1
        Its square bounds the smallest shape over the largest one.
    """

    parameters = (
        RowParameter("scale", "log"),
        RowParameter("shape", "log", -5.0, 12.0, "high"),
    )
    column_settings = ("shape_features",)
    support = (0.0, np.inf)
    positive = True
    linked_mean = False
    takes = ("offset", "exposure")

    def __init__(self, penalty=None, shape_features=None, max_ratio=0.1):
        self.penalty = penalty
        self.shape_features = shape_features
        self.max_ratio = max_ratio

    def check_support(self, y, trials):
        if not y.min() > 0:
            raise ValueError(
                f"WeibullExpert needs positive targets; got min(y) = {y.min():g}. Shift the target "
                'or use expert="gaussian".'
            )

    def initial_parameters(self, y, weight, offset, trials):
        logs = np.log(y) if offset is None else np.log(y) - offset
        mean = np.average(logs, weights=weight)
        spread = np.sqrt(np.average((logs - mean) ** 2, weights=weight))
        shape = np.pi / np.sqrt(6) / max(spread, 1e-3)  # log y is Gumbel with this spread
        return np.exp(mean + EULER / shape), shape

    def log_density_unit(self, eta, y, trials):
        shape = np.exp(eta[1])
        z = shape * (np.log(y) - eta[0])
        return eta[1] - np.log(y) + z - np.exp(np.minimum(z, 600.0))

    def score_unit(self, eta, y, trials):
        shape = np.exp(eta[1])
        z = shape * (np.log(y) - eta[0])
        slope = 1 - np.exp(np.minimum(z, 600.0))
        return stacked(-shape * slope, 1 + z * slope)

    def mean_of(self, theta, trials):
        return theta[0] * np.exp(special.gammaln(1 + 1 / theta[1]))

    def variance_of(self, theta, trials):
        first, second = special.gammaln(1 + 1 / theta[1]), special.gammaln(1 + 2 / theta[1])
        return theta[0] ** 2 * np.exp(2 * first) * np.expm1(second - 2 * first)

    def cdf_of(self, y, theta, trials):
        return -np.expm1(-((np.maximum(y, 0) / theta[0]) ** theta[1]))

    def survival_of(self, y, theta, trials):
        return np.exp(-((np.maximum(y, 0) / theta[0]) ** theta[1]))

    def quantile_of(self, probability, theta, trials):
        return theta[0] * (-np.log1p(-np.asarray(probability))) ** (1 / theta[1])

    def draw_of(self, theta, trials, rng):
        return theta[0] * rng.weibull(theta[1])
