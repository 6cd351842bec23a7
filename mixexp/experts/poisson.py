"""Poisson expert: counts with an optional exposure or offset."""

from __future__ import annotations

import numpy as np
from scipy import special
from scipy import stats as distributions

from .._component import EXPERTS, register
from ..kernels import reference
from .glm import GLMExpert
from .laws import normal_density, normal_excess

TINY = 1e-15  # a mean below which zero is certain to rounding
HUGE = 1e10  # a mean beyond which the normal distribution is as exact as the special functions


@register(EXPERTS, "poisson")
class PoissonExpert(GLMExpert):
    """y | x ~ Poisson(mean) with link(mean) = a_k + b_k' x + offset.

    Parameters
    ----------
    penalty : Penalty or None
    link : {"log", "identity"}, default "log"
    tied : None, "all" or sequence of int or str
        Positions among the experts' columns, or names, of slopes that all experts share.
    """

    links = ("log", "identity")
    kernel_code = reference.POISSON
    discrete = True
    positive = True
    takes = ("offset", "exposure")

    def __init__(self, penalty=None, link=None, tied=None):
        self.penalty = penalty
        self.link = link
        self.tied = tied

    def check_target(self, y, trials=None):
        if y.min() < 0 or np.any(y != np.floor(y)):
            bad = y.min() if y.min() < 0 else y[y != np.floor(y)].flat[0]
            raise ValueError(
                f"PoissonExpert needs non-negative integer targets; got {bad:g}. "
                'Use expert="gaussian" or expert="gamma" for other targets.'
            )

    def unit(self, eta, y, trials, dispersion):
        return reference.poisson_unit(eta, self.link_name, y, trials, dispersion)

    def row_part(self, y, trials):
        return -special.gammaln(y + 1).sum(axis=1)

    def initial_mean(self, y, weight, offset, trials):
        return np.maximum(super().initial_mean(y, weight, offset, trials), 1e-8)

    def variance(self, mean, trials, dispersion):
        return mean

    def cdf(self, y, mean, trials, dispersion):
        exact = distributions.poisson.cdf(y, np.minimum(mean, HUGE))
        return np.where(
            mean > HUGE, special.ndtr((y + 0.5 - mean) / np.sqrt(np.maximum(mean, 1))), exact
        )

    def quantile(self, probability, mean, trials, dispersion):
        exact = distributions.poisson.ppf(probability, np.clip(mean, TINY, HUGE))
        spread = np.sqrt(np.maximum(mean, 0))
        normal = np.ceil(mean + spread * special.ndtri(probability) - 0.5)
        return np.maximum(np.where(mean > HUGE, normal, exact), 0)

    def density(self, y, mean, trials, dispersion):
        exact = distributions.poisson.pmf(y, np.minimum(mean, HUGE))
        spread = np.sqrt(np.maximum(mean, 1))
        return np.where(mean > HUGE, normal_density(y, mean, spread), exact)

    def excess(self, threshold, mean, trials, dispersion):
        below, small = np.floor(threshold), np.minimum(mean, HUGE)
        beyond = small * distributions.poisson.sf(below - 1, small)
        exact = beyond - threshold * distributions.poisson.sf(below, small)
        spread = np.sqrt(np.maximum(mean, 1))
        exact = np.where(mean > HUGE, normal_excess(threshold, mean, spread), exact)
        return np.maximum(exact, 0.0)

    def draw(self, mean, trials, dispersion, rng):
        return rng.poisson(mean).astype(float)
