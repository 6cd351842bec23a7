"""Gaussian expert whose standard deviation depends on the columns."""

from __future__ import annotations

import numpy as np
from scipy import special

from .._component import EXPERTS, register
from ..kernels.reference import HALF_LOG_2PI
from ..kernels.rows import stacked
from .distributional import DistributionalExpert, RowParameter


@register(EXPERTS, "heteroscedastic_gaussian")
class HeteroscedasticGaussianExpert(DistributionalExpert):
    """y | x ~ N(a_k + b_k' x, s_k(x)^2) with log s_k(x) = c_k + d_k' x.

    With ``scale_features=None`` it is `GaussianExpert`, which is faster (Harvey, 1976, "Estimating
    regression models with multiplicative heteroscedasticity", Econometrica 44, 461-465).

    Parameters
    ----------
    penalty : L2 or None
        Penalty on the mean's slopes, of the standardised columns.
    scale_features : None, "all" or sequence of int or str, default="all"
        Columns, among the experts', that log s_k depends on linearly.
    min_scale : float, default=1e-3
        Lower bound of s_k at the columns' means, in standard deviations of the target.
    max_ratio : float, default=1e-2
        Lower bound of s_k over the largest scale, there.
    """

    parameters = (
        RowParameter("location", "identity"),
        RowParameter("scale", "log", -30.0, 30.0, "low"),
    )
    scales_target = True
    takes = ("offset",)

    def __init__(self, penalty=None, scale_features="all", min_scale=1e-3, max_ratio=1e-2):
        self.penalty = penalty
        self.scale_features = scale_features
        self.min_scale = min_scale
        self.max_ratio = max_ratio

    @property
    def title(self):
        return "GaussianExpert" if self.scale_features is None else super().title

    def initial_parameters(self, y, weight, offset, trials):
        mean = np.average(y, weights=weight)
        return mean, np.sqrt(np.average((y - mean) ** 2, weights=weight)) or 1.0

    def log_density_unit(self, eta, y, trials):
        d = (y - eta[0]) * np.exp(-eta[1])
        return -HALF_LOG_2PI - eta[1] - 0.5 * d * d

    def score_unit(self, eta, y, trials):
        d = (y - eta[0]) * np.exp(-eta[1])
        return stacked(d * np.exp(-eta[1]), d * d - 1)

    def hessian_unit(self, eta, y, trials):
        d = (y - eta[0]) * np.exp(-eta[1])
        cross = -2 * d * np.exp(-eta[1])
        own = np.broadcast_to(-np.exp(-2 * eta[1]), d.shape)
        return np.stack([np.stack([own, cross]), np.stack([cross, -2 * d * d])])

    def mean_of(self, theta, trials):
        return theta[0]

    def variance_of(self, theta, trials):
        return theta[1] ** 2

    def cdf_of(self, y, theta, trials):
        return special.ndtr((y - theta[0]) / theta[1])

    def survival_of(self, y, theta, trials):
        return special.ndtr((theta[0] - y) / theta[1])

    def quantile_of(self, probability, theta, trials):
        return theta[0] + theta[1] * special.ndtri(probability)

    def draw_of(self, theta, trials, rng):
        return theta[0] + theta[1] * rng.standard_normal(np.shape(theta[0]))
