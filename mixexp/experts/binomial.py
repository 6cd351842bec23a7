"""Binomial expert: successes among a known number of trials."""

from __future__ import annotations

import numpy as np
from scipy import special
from scipy import stats as distributions

from .._component import EXPERTS, register
from ..kernels import reference
from .glm import GLMExpert


@register(EXPERTS, "binomial")
class BinomialExpert(GLMExpert):
    """y | x ~ Binomial(trials, p) with link(p) = a_k + b_k' x.

    The target is the number of successes; ``trials=`` (default 1) is a row-wise input of
    ``fit``, ``predict`` and the like. Predictions are expected counts; divide by the trials
    for proportions.

    Parameters
    ----------
    penalty : Penalty or None
    link : {"logit", "probit", "cloglog", "log", "identity"}, default "logit"
    tied : None, "all" or sequence of int or str
        Positions among the experts' columns, or names, of slopes that all experts share.
    """

    links = ("logit", "probit", "cloglog", "log", "identity")
    kernel_code = reference.BINOMIAL
    discrete = True
    takes = ("offset", "trials")

    def __init__(self, penalty=None, link=None, tied=None):
        self.penalty = penalty
        self.link = link
        self.tied = tied

    def check_target(self, y, trials=None):
        total = np.ones(len(y)) if trials is None else trials
        bad = (y < 0) | (y > total[:, None]) | (y != np.floor(y))
        if bad.any():
            row = int(np.flatnonzero(bad.any(axis=1))[0])
            who = f"row {row} has" if len(y) > 1 else "got"
            raise ValueError(
                f"BinomialExpert needs whole numbers of successes between 0 and trials; {who} "
                f"y = {y[row].tolist()} of {total[row]:g}. Give the counts as y and the "
                "numbers of trials as trials=."
            )

    def unit(self, eta, y, trials, dispersion):
        return reference.binomial_unit(eta, self.link_name, y, trials, dispersion)

    def row_part(self, y, trials):
        total = np.ones((len(y), 1)) if trials is None else trials[:, None]
        return (
            special.gammaln(total + 1) - special.gammaln(y + 1) - special.gammaln(total - y + 1)
        ).sum(axis=1)

    def initial_mean(self, y, weight, offset, trials):
        return np.clip(super().initial_mean(y, weight, offset, trials), 1e-6, 1 - 1e-6)

    def mean(self, params, X, offset, trials):
        p = super().mean(params, X, offset, trials)
        if self.link_name in ("log", "identity"):  # the others cannot leave the range
            p = np.where((p > 0) & (p < 1), p, np.nan)
        return p if trials is None else p * trials[:, None, None]

    def _probability(self, mean, trials):
        return np.clip(mean if trials is None else mean / np.maximum(trials, 1e-300), 0, 1)

    def variance(self, mean, trials, dispersion):
        return mean * (1 - self._probability(mean, trials))

    def cdf(self, y, mean, trials, dispersion):
        total = 1 if trials is None else trials
        return distributions.binom.cdf(y, total, self._probability(mean, trials))

    def quantile(self, probability, mean, trials, dispersion):
        total = 1 if trials is None else trials
        value = distributions.binom.ppf(probability, total, self._probability(mean, trials))
        return np.maximum(value, 0)

    def density(self, y, mean, trials, dispersion):
        total = 1 if trials is None else trials
        return distributions.binom.pmf(y, total, self._probability(mean, trials))

    def excess(self, threshold, mean, trials, dispersion):
        total, p = 1 if trials is None else trials, self._probability(mean, trials)
        below = np.floor(threshold)
        # y choose(m, y) = m choose(m - 1, y - 1)
        others = np.maximum(np.asarray(total) - 1, 0)
        beyond = mean * distributions.binom.sf(below - 1, others, p)
        return np.maximum(beyond - threshold * distributions.binom.sf(below, total, p), 0.0)

    def draw(self, mean, trials, dispersion, rng):
        total = 1 if trials is None else np.asarray(trials).astype(int)
        return rng.binomial(total, self._probability(mean, trials)).astype(float)
