"""Inverse Gaussian expert: positive targets with a heavier right tail than gamma's."""

from __future__ import annotations

import numpy as np
from scipy import special

from .._component import EXPERTS, register
from ..kernels.reference import HALF_LOG_2PI
from ..kernels.rows import stacked
from .distributional import DistributionalExpert, RowParameter, root_of


@register(EXPERTS, "inverse_gaussian")
class InverseGaussianExpert(DistributionalExpert):
    """y | x inverse Gaussian with log mean a_k + b_k' x and shape l_k: variance mean^3 / l_k.

    Tweedie (1957), "Statistical properties of inverse Gaussian distributions", Ann. Math. Stat. 28.

    Parameters
    ----------
    penalty : L2 or None
        Penalty on the slopes of the standardised columns.
    shape_features : None, "all" or sequence of int or str
        Columns, among the experts', that log l_k depends on linearly.
    max_ratio : float, default=1e-2
        Its square bounds the smallest shape over the largest one.
    """

    parameters = (
        RowParameter("mean", "log"),
        RowParameter("shape", "log", -30.0, 30.0, "high"),
    )
    column_settings = ("shape_features",)
    support = (0.0, np.inf)
    positive = True
    takes = ("offset", "exposure")

    def __init__(self, penalty=None, shape_features=None, max_ratio=1e-2):
        self.penalty = penalty
        self.shape_features = shape_features
        self.max_ratio = max_ratio

    def check_support(self, y, trials):
        if not y.min() > 0:
            raise ValueError(
                f"InverseGaussianExpert needs positive targets; got min(y) = {y.min():g}. Shift "
                'the target or use expert="gaussian".'
            )

    def initial_parameters(self, y, weight, offset, trials):
        scale = 1.0 if offset is None else np.average(np.exp(offset), weights=weight)
        mean = np.average(y, weights=weight)
        gap = np.average(1 / y, weights=weight) - 1 / mean
        return mean / scale, 1 / max(gap, 1e-8 / mean)

    def log_density_unit(self, eta, y, trials):
        mean, shape = np.exp(eta[0]), np.exp(eta[1])
        off = (y - mean) / mean
        return 0.5 * (eta[1] - 3 * np.log(y)) - HALF_LOG_2PI - 0.5 * shape * off * off / y

    def score_unit(self, eta, y, trials):
        mean, shape = np.exp(eta[0]), np.exp(eta[1])
        off = (y - mean) / mean
        return stacked(shape * off / mean, 0.5 - 0.5 * shape * off * off / y)

    def mean_of(self, theta, trials):
        return theta[0]

    def variance_of(self, theta, trials):
        return theta[0] ** 3 / theta[1]

    def cdf_of(self, y, theta, trials):
        mean, shape = theta
        y = np.maximum(y, 1e-300)
        root = np.sqrt(shape / y)
        first = special.ndtr(root * (y / mean - 1))
        # exp(2 l / m) may overflow where the tail underflows: logs meet first
        second = np.exp(2 * shape / mean + special.log_ndtr(-root * (y / mean + 1)))
        return np.clip(first + second, 0.0, 1.0)

    def survival_of(self, y, theta, trials):
        mean, shape = theta
        y = np.maximum(y, 1e-300)
        root = np.sqrt(shape / y)
        first = special.log_ndtr(-root * (y / mean - 1))
        # a difference of two numbers that nearly agree far in the tail: the ratio comes first
        ratio = np.exp(2 * shape / mean + special.log_ndtr(-root * (y / mean + 1)) - first)
        return np.exp(first) * np.maximum(1 - ratio, 0.0)

    def quantile_of(self, probability, theta, trials):
        mean, shape = theta
        spread = np.sqrt(mean / shape)
        start = mean * np.exp(np.clip(spread, 1e-6, 5.0) * special.ndtri(probability))
        return root_of(lambda y: self.cdf_of(y, theta, trials), probability, start, positive=True)

    def draw_of(self, theta, trials, rng):
        return rng.wald(theta[0], theta[1])
