"""Student t expert: a robust regression whose tails are as heavy as the data's."""

from __future__ import annotations

import numpy as np
from scipy import special
from scipy import stats as distributions

from .._component import EXPERTS, register
from ..kernels.rows import stacked
from ..kernels.student_t import density_slope, log_t_density
from .distributional import DistributionalExpert, RowParameter

LOWEST_DF, HIGHEST_DF = 0.5, 1e12


@register(EXPERTS, "student")
class StudentExpert(DistributionalExpert):
    """y | x = a_k + b_k' x + s_k T, T with Student's t distribution of nu_k degrees of freedom.

    Robust: a row far from an expert has a bounded influence on it. The Gaussian expert is the limit
    of large nu, which is reached where the data have no heavier tails (Lange, Little and Taylor,
    1989, "Robust statistical modeling using the t distribution", JASA 84, 881-896; Chamroukhi,
    2016, "Robust mixture of experts modeling using the t distribution", Neural Networks 79).

    `predict` gives the locations, which are the means where nu > 1; the variance is infinite where
    nu <= 2.

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
        RowParameter("df", "log", np.log(LOWEST_DF), np.log(HIGHEST_DF)),
    )
    scales_target = True
    takes = ("offset",)

    def __init__(self, penalty=None, scale_features=None, min_scale=1e-3, max_ratio=1e-2):
        self.penalty = penalty
        self.scale_features = scale_features
        self.min_scale = min_scale
        self.max_ratio = max_ratio

    def initial_parameters(self, y, weight, offset, trials):
        mean = np.average(y, weights=weight)
        spread = np.sqrt(np.average((y - mean) ** 2, weights=weight))
        # heavy tails from the start: EM leaves light ones slowly where there are outliers
        return mean, spread if spread > 0 else 1.0, 4.0

    def log_density_unit(self, eta, y, trials):
        location, log_scale, log_df = eta
        return log_t_density(np.exp(log_df), (y - location) * np.exp(-log_scale)) - log_scale

    def score_unit(self, eta, y, trials):
        location, log_scale, log_df = eta
        scale, df = np.exp(log_scale), np.exp(log_df)
        d = (y - location) / scale
        weight = (df + 1) / (df + d * d)
        return stacked(weight * d / scale, weight * d * d - 1, density_slope(df, d))

    def mean_of(self, theta, trials):
        return theta[0]

    def variance_of(self, theta, trials):
        _, scale, df = theta
        return np.where(df > 2, scale**2 * df / np.where(df > 2, df - 2, 1.0), np.inf)

    def cdf_of(self, y, theta, trials):
        location, scale, df = theta
        return special.stdtr(df, (y - location) / scale)

    def survival_of(self, y, theta, trials):
        location, scale, df = theta
        return special.stdtr(df, (location - y) / scale)

    def quantile_of(self, probability, theta, trials):
        location, scale, df = theta
        return location + scale * special.stdtrit(df, probability)

    def draw_of(self, theta, trials, rng):
        location, scale, df = theta
        return distributions.t.rvs(df, loc=location, scale=scale, random_state=rng)
