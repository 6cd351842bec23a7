"""Lognormal expert: positive targets whose logarithm is normal."""

from __future__ import annotations

import numpy as np
from scipy import special
from sklearn.base import clone

from .._component import EXPERTS, register
from ..kernels.reference import HALF_LOG_2PI
from ..kernels.rows import stacked
from .distributional import DistributionalExpert, RowParameter


@register(EXPERTS, "lognormal")
class LognormalExpert(DistributionalExpert):
    """log y | x ~ N(a_k + b_k' x, s_k^2), y > 0.

    The density is that of y. The mean of y is exp(a_k + b_k' x + s_k^2 / 2).

    Parameters
    ----------
    penalty : L2 or None
        Penalty on the slopes of the standardised columns.
    scale_features : None, "all" or sequence of int or str
        Columns, among the experts', that log s_k depends on linearly.
    min_scale : float, default=1e-3
        Lower bound of s_k in standard deviations of log y.
    max_ratio : float, default=1e-2
        Lower bound of s_k over the largest scale.
    """

    parameters = (
        RowParameter("location", "identity"),
        RowParameter("scale", "log", -30.0, 30.0, "low"),
    )
    support = (0.0, np.inf)
    positive = True
    linked_mean = False
    takes = ("offset",)

    def __init__(self, penalty=None, scale_features=None, min_scale=1e-3, max_ratio=1e-2):
        self.penalty = penalty
        self.scale_features = scale_features
        self.min_scale = min_scale
        self.max_ratio = max_ratio

    def check_support(self, y, trials):
        if not y.min() > 0:
            raise ValueError(
                f"LognormalExpert needs positive targets; got min(y) = {y.min():g}. Shift the "
                'target or use expert="gaussian".'
            )

    def for_target(self, target, n_distinct):
        spread = target.log_spread
        factor = float(spread[0]) if np.isfinite(spread[0]) else 1.0
        return clone(self).set_params(min_scale=self.min_scale * factor)

    def initial_parameters(self, y, weight, offset, trials):
        logs = np.log(y)
        mean = np.average(logs, weights=weight)
        spread = np.sqrt(np.average((logs - mean) ** 2, weights=weight))
        return mean, spread if spread > 0 else 1.0

    def log_density_unit(self, eta, y, trials):
        log_y = np.log(y)
        d = (log_y - eta[0]) * np.exp(-eta[1])
        return -HALF_LOG_2PI - eta[1] - log_y - 0.5 * d * d

    def score_unit(self, eta, y, trials):
        d = (np.log(y) - eta[0]) * np.exp(-eta[1])
        return stacked(d * np.exp(-eta[1]), d * d - 1)

    def hessian_unit(self, eta, y, trials):
        d = (np.log(y) - eta[0]) * np.exp(-eta[1])
        cross = -2 * d * np.exp(-eta[1])
        own = np.broadcast_to(-np.exp(-2 * eta[1]), d.shape)
        return np.stack([np.stack([own, cross]), np.stack([cross, -2 * d * d])])

    def mean_of(self, theta, trials):
        return np.exp(np.minimum(theta[0] + 0.5 * theta[1] ** 2, 700.0))

    def variance_of(self, theta, trials):
        return np.expm1(theta[1] ** 2) * np.exp(2 * theta[0] + theta[1] ** 2)

    def cdf_of(self, y, theta, trials):
        with np.errstate(divide="ignore"):
            return special.ndtr((np.log(np.maximum(y, 0)) - theta[0]) / theta[1])

    def survival_of(self, y, theta, trials):
        with np.errstate(divide="ignore"):
            return special.ndtr((theta[0] - np.log(np.maximum(y, 0))) / theta[1])

    def quantile_of(self, probability, theta, trials):
        return np.exp(theta[0] + theta[1] * special.ndtri(probability))

    def draw_of(self, theta, trials, rng):
        return np.exp(theta[0] + theta[1] * rng.standard_normal(np.shape(theta[0])))
