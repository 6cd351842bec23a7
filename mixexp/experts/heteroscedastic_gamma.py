"""Gamma expert whose shape depends on the columns."""

from __future__ import annotations

import numpy as np
from scipy import special

from .._component import EXPERTS, register
from ..kernels.rows import stacked
from .distributional import DistributionalExpert, RowParameter
from .shapes import gamma_shape


@register(EXPERTS, "heteroscedastic_gamma")
class HeteroscedasticGammaExpert(DistributionalExpert):
    """y | x Gamma with log mean a_k + b_k' x and shape s_k(x): variance mean^2 / s_k(x).

    With ``shape_features=None`` it is `GammaExpert`, which is faster (Smyth, 1989, "Generalized
    linear models with varying dispersion", J. R. Stat. Soc. B 51, 47-60).

    Parameters
    ----------
    penalty : L2 or None
        Penalty on the mean's slopes, of the standardised columns.
    shape_features : None, "all" or sequence of int or str, default="all"
        Columns, among the experts', that log s_k depends on linearly.
    max_ratio : float, default=1e-2
        Its square bounds the smallest shape over the largest one.
    """

    parameters = (
        RowParameter("mean", "log"),
        RowParameter("shape", "log", -7.0, 14.0, "high"),
    )
    column_settings = ("shape_features",)
    support = (0.0, np.inf)
    positive = True
    takes = ("offset", "exposure")

    def __init__(self, penalty=None, shape_features="all", max_ratio=1e-2):
        self.penalty = penalty
        self.shape_features = shape_features
        self.max_ratio = max_ratio

    @property
    def title(self):
        return "GammaExpert" if self.shape_features is None else super().title

    def check_support(self, y, trials):
        if not y.min() > 0:
            raise ValueError(
                f"{self.title} needs positive targets; got min(y) = {y.min():g}. "
                'Shift the target or use expert="gaussian".'
            )

    def initial_parameters(self, y, weight, offset, trials):
        scale = 1.0 if offset is None else np.average(np.exp(offset), weights=weight)
        mean = np.average(y, weights=weight)
        gap = np.average(np.log(y / mean) - y / mean + 1, weights=weight)
        return mean / scale, np.clip(gamma_shape(gap), 1e-3, 1e6)

    def log_density_unit(self, eta, y, trials):
        shape = np.exp(eta[1])
        log_ratio = np.log(y) - eta[0]
        own = shape * (eta[1] + log_ratio - np.exp(log_ratio))
        return own - special.gammaln(shape) - np.log(y)

    def score_unit(self, eta, y, trials):
        shape = np.exp(eta[1])
        log_ratio = np.log(y) - eta[0]
        by_shape = 1 + eta[1] + log_ratio - np.exp(log_ratio) - special.digamma(shape)
        return stacked(shape * np.expm1(log_ratio), shape * by_shape)

    def hessian_unit(self, eta, y, trials):
        shape = np.exp(eta[1])
        log_ratio = np.log(y) - eta[0]
        ratio, off = np.exp(log_ratio), np.expm1(log_ratio)
        by_shape = 1 + eta[1] + log_ratio - ratio - special.digamma(shape)
        own = shape * (by_shape + 1 - shape * special.polygamma(1, shape))
        first, cross, own = np.broadcast_arrays(-shape * ratio, shape * off, own)
        return np.stack([np.stack([first, cross]), np.stack([cross, own])])

    def mean_of(self, theta, trials):
        return theta[0]

    def variance_of(self, theta, trials):
        return theta[0] ** 2 / theta[1]

    def cdf_of(self, y, theta, trials):
        return special.gammainc(theta[1], np.maximum(y, 0) * theta[1] / theta[0])

    def survival_of(self, y, theta, trials):
        return special.gammaincc(theta[1], np.maximum(y, 0) * theta[1] / theta[0])

    def quantile_of(self, probability, theta, trials):
        return special.gammaincinv(theta[1], probability) * theta[0] / theta[1]

    def draw_of(self, theta, trials, rng):
        return rng.gamma(theta[1], theta[0] / theta[1])
