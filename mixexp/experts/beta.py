"""Beta expert: shares strictly between zero and one."""

from __future__ import annotations

import numpy as np
from scipy import special

from .._component import EXPERTS, register
from ..kernels.rows import stacked
from .distributional import DistributionalExpert, RowParameter


@register(EXPERTS, "beta")
class BetaExpert(DistributionalExpert):
    """y | x ~ Beta(m f, (1 - m) f) with logit mean a_k + b_k' x and precision f_k.

    Ferrari and Cribari-Neto (2004), "Beta regression for modelling rates and proportions",
    J. Appl. Stat. 31, 799-815. The variance is m (1 - m) / (1 + f).

    Parameters
    ----------
    penalty : L2 or None
        Penalty on the slopes of the standardised columns.
    precision_features : None, "all" or sequence of int or str
        Columns, among the experts', that log f_k depends on linearly.
    max_ratio : float, default=1e-2
        Its square bounds the smallest precision over the largest one.
    """

    parameters = (
        RowParameter("mean", "logit"),
        RowParameter("precision", "log", -8.0, 18.0, "high"),
    )
    column_settings = ("precision_features",)
    support = (0.0, 1.0)
    positive = True
    takes = ("offset",)

    def __init__(self, penalty=None, precision_features=None, max_ratio=1e-2):
        self.penalty = penalty
        self.precision_features = precision_features
        self.max_ratio = max_ratio

    def check_support(self, y, trials):
        if not (y.min() > 0 and y.max() < 1):
            raise ValueError(
                f"BetaExpert needs targets strictly between 0 and 1; got {y.min():g} to "
                f"{y.max():g}. Divide by the range, or use expert='binomial' with trials= for "
                "counts of successes."
            )

    def initial_parameters(self, y, weight, offset, trials):
        mean = np.average(y, weights=weight)
        variance = np.average((y - mean) ** 2, weights=weight)
        return mean, max(mean * (1 - mean) / max(variance, 1e-12) - 1, 1e-2)

    def log_density_unit(self, eta, y, trials):
        a, b = self._shapes(eta)
        return -special.betaln(a, b) + (a - 1) * np.log(y) + (b - 1) * np.log1p(-y)

    def score_unit(self, eta, y, trials):
        a, b = self._shapes(eta)
        total, log_y, log_other = np.exp(eta[1]), np.log(y), np.log1p(-y)
        by_a = log_y - special.digamma(a) + special.digamma(total)
        by_b = log_other - special.digamma(b) + special.digamma(total)
        return stacked((by_a - by_b) * a * b / total, a * by_a + b * by_b)

    @staticmethod
    def _shapes(eta):
        total = np.exp(eta[1])
        return total * special.expit(eta[0]), total * special.expit(-eta[0])

    def mean_of(self, theta, trials):
        return theta[0]

    def variance_of(self, theta, trials):
        return theta[0] * (1 - theta[0]) / (1 + theta[1])

    def cdf_of(self, y, theta, trials):
        return special.betainc(theta[0] * theta[1], (1 - theta[0]) * theta[1], np.clip(y, 0.0, 1.0))

    def survival_of(self, y, theta, trials):
        a, b = theta[0] * theta[1], (1 - theta[0]) * theta[1]
        return special.betainc(b, a, np.clip(1 - y, 0.0, 1.0))

    def quantile_of(self, probability, theta, trials):
        return special.betaincinv(theta[0] * theta[1], (1 - theta[0]) * theta[1], probability)

    def draw_of(self, theta, trials, rng):
        draws = rng.beta(theta[0] * theta[1], (1 - theta[0]) * theta[1])
        return np.clip(draws, 1e-300, 1 - 2.0**-53)
