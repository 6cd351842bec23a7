"""Counts beyond Poisson: negative binomial, and many zeros by inflation or by a hurdle."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
from scipy import special

from .._component import EXPERTS, register
from ..kernels import negative_binomial
from ..kernels.rows import stacked
from .distributional import DistributionalExpert, RowParameter

SMALL_ODDS = 1e-8  # share of zeros that a neutral start gives to inflation, at least


class CountExpert(DistributionalExpert):
    """Base of the count families with a log mean."""

    column_settings: ClassVar[tuple[str, ...]] = ()
    support = (0.0, np.inf)
    discrete = True
    positive = True
    runs_away = "its counts follow a simpler family, towards which the parameter runs to its bound"
    takes = ("offset", "exposure")

    def check_support(self, y, trials):
        if y.min() < 0 or np.any(y != np.floor(y)):
            raise ValueError(
                f"{type(self).__name__} needs whole numbers of at least 0; got "
                f"{y[(y < 0) | (y != np.floor(y))][0]:g}. Use a family of continuous targets, or "
                "sums with exposure=."
            )

    def undetermined(self, params, y, resp, names):
        """Sizes and probabilities of zeros at their bounds, where the counts are a simpler family.

        A size runs to infinity where an expert is not more dispersed than a Poisson law.
        """
        place = self._intercepts(params.coef.shape[-1])
        labels = np.array(self.contrasts(params, names, 0)[0]).reshape(len(params.coef), -1)
        values = params.coef[..., 0]
        low, high = self._own_limits(values)
        ends = (values <= low + 1e-9) | (values >= high - 1e-9)
        ends &= self.used(params.coef.shape[-1]).sum(axis=1) == 1
        return [str(label) for label in labels[:, place][ends]]

    @staticmethod
    def _rate(y, weight, offset):
        scale = 1.0 if offset is None else np.average(np.exp(offset), weights=weight)
        return max(float(np.average(y, weights=weight) / scale), 1e-8)


class PoissonLaw(CountExpert):
    """Poisson counts in this base's form, for inflation and hurdles; `PoissonExpert` is faster."""

    parameters = (RowParameter("mean", "log"),)

    def __init__(self, penalty=None):
        self.penalty = penalty

    @property
    def title(self):
        return "PoissonExpert"

    def initial_parameters(self, y, weight, offset, trials):
        return (self._rate(y, weight, offset),)

    def log_density_unit(self, eta, y, trials):
        return y * eta[0] - np.exp(eta[0]) - special.gammaln(y + 1)

    def score_unit(self, eta, y, trials):
        return (y - np.exp(eta[0]))[None]

    def mean_of(self, theta, trials):
        return theta[0]

    def variance_of(self, theta, trials):
        return theta[0]

    def cdf_of(self, y, theta, trials):
        y = np.floor(y)
        return np.where(y < 0, 0.0, special.pdtr(np.maximum(y, 0), theta[0]))

    def survival_of(self, y, theta, trials):
        y = np.floor(y)
        return np.where(y < 0, 1.0, special.pdtrc(np.maximum(y, 0), theta[0]))

    def quantile_of(self, probability, theta, trials):
        from scipy.stats import poisson

        return poisson.ppf(probability, theta[0])

    def draw_of(self, theta, trials, rng):
        return rng.poisson(np.minimum(theta[0], 1e18)).astype(float)


@register(EXPERTS, "negative_binomial")
class NegativeBinomialExpert(CountExpert):
    """Counts with log mean a_k + b_k' x and size r_k: variance mean + mean^2 / r_k.

    The Poisson family is the limit of large sizes (Lawless, 1987, "Negative binomial and mixed
    Poisson regression", Canad. J. Stat. 15, 209-225; NB2 in econometrics). Where an expert is not
    more dispersed than that, its size ends at the bound exp(18), and `inference` asks to hold it.

    Parameters
    ----------
    penalty : L2 or None
        Penalty on the slopes of the standardised columns.
    size_features : None, "all" or sequence of int or str
        Columns, among the experts', that log r_k depends on linearly.
    """

    parameters = (RowParameter("mean", "log"), RowParameter("size", "log", -12.0, 18.0))
    column_settings = ("size_features",)

    def __init__(self, penalty=None, size_features=None):
        self.penalty = penalty
        self.size_features = size_features

    def initial_parameters(self, y, weight, offset, trials):
        mean = np.average(y, weights=weight)
        excess = np.average((y - mean) ** 2, weights=weight) - mean
        size = mean**2 / excess if excess > 1e-6 * mean else 1e4
        return self._rate(y, weight, offset), np.clip(size, 1e-3, 1e4)

    def log_density_unit(self, eta, y, trials):
        return negative_binomial.log_mass(eta[0], eta[1], y)

    def score_unit(self, eta, y, trials):
        return stacked(*negative_binomial.score(eta[0], eta[1], y))

    def hessian_unit(self, eta, y, trials):
        by_mean, by_both, by_size = stacked(*negative_binomial.hessian(eta[0], eta[1], y))
        return np.array([[by_mean, by_both], [by_both, by_size]])

    def mean_of(self, theta, trials):
        return theta[0]

    def variance_of(self, theta, trials):
        return theta[0] + theta[0] ** 2 / theta[1]

    def cdf_of(self, y, theta, trials):
        y = np.floor(y)
        share = theta[1] / (theta[1] + theta[0])
        return np.where(y < 0, 0.0, special.betainc(theta[1], np.maximum(y, 0) + 1, share))

    def survival_of(self, y, theta, trials):
        y = np.floor(y)
        share = theta[0] / (theta[1] + theta[0])
        return np.where(y < 0, 1.0, special.betainc(np.maximum(y, 0) + 1, theta[1], share))

    def quantile_of(self, probability, theta, trials):
        from scipy.stats import nbinom

        return nbinom.ppf(probability, theta[1], theta[1] / (theta[1] + theta[0]))

    def draw_of(self, theta, trials, rng):
        rate = rng.gamma(theta[1], theta[0] / theta[1])
        return rng.poisson(np.minimum(rate, 1e18)).astype(float)


class _ManyZeros(CountExpert):
    """Counts of another family with a probability of zeros of its own."""

    linked_mean = False

    base: CountExpert
    linked_mean = False

    def _split(self, eta):
        """Predictors of the counts, and log of the probability p and of 1 - p."""
        return eta[:-1], -np.logaddexp(0, -eta[-1]), -np.logaddexp(0, eta[-1])

    def _at_zero(self, counts, shape):
        """Log probability of a zero count, and its derivatives."""
        zero = np.zeros((1, 1))
        score = self.base.score_unit(counts, zero, None)
        return self.base.log_density_unit(counts, zero, None), np.broadcast_to(
            score, (len(counts), *shape)
        )


class ZeroInflated(_ManyZeros):
    """P(0) = p + (1 - p) f(0); P(y) = (1 - p) f(y) for y > 0 (Lambert, 1992, Technometrics 34)."""

    def initial_parameters(self, y, weight, offset, trials):
        zeros = np.average(y == 0, weights=weight)
        positive = y > 0
        some = positive if positive.any() else np.ones(len(y), bool)
        own = self.base.initial_parameters(
            y[some], weight[some], None if offset is None else offset[some], trials
        )
        return *own, np.clip(0.5 * zeros, SMALL_ODDS, 0.9)

    def log_density_unit(self, eta, y, trials):
        counts, log_p, log_q = self._split(eta)
        at_zero, _ = self._at_zero(counts, np.broadcast(*eta, y).shape)
        positive = log_q + self.base.log_density_unit(counts, y, trials)
        return np.where(y == 0, np.logaddexp(log_p, log_q + at_zero), positive)

    def score_unit(self, eta, y, trials):
        counts, log_p, log_q = self._split(eta)
        shape = np.broadcast(*eta, y).shape
        at_zero, slope = self._at_zero(counts, shape)
        total = np.logaddexp(log_p, log_q + at_zero)
        counted = np.exp(log_q + at_zero - total)  # share of the zeros that are counts
        by_counts = np.where(y == 0, counted * slope, self.base.score_unit(counts, y, trials))
        p = np.exp(log_p)
        by_p = np.where(y == 0, 1 - counted - p, -p)
        return np.concatenate([by_counts, np.broadcast_to(by_p, shape)[None]])

    def mean_of(self, theta, trials):
        return (1 - theta[-1]) * self.base.mean_of(theta[:-1], trials)

    def variance_of(self, theta, trials):
        mean, p = self.base.mean_of(theta[:-1], trials), theta[-1]
        return (1 - p) * (self.base.variance_of(theta[:-1], trials) + p * mean**2)

    def cdf_of(self, y, theta, trials):
        inside = self.base.cdf_of(y, theta[:-1], trials)
        return np.where(np.floor(y) < 0, 0.0, theta[-1] + (1 - theta[-1]) * inside)

    def quantile_of(self, probability, theta, trials):
        share = (np.asarray(probability) - theta[-1]) / (1 - theta[-1])
        positive = self.base.quantile_of(np.clip(share, 0.0, 1.0), theta[:-1], trials)
        return np.where(share > 0, np.maximum(positive, 0.0), 0.0)

    def draw_of(self, theta, trials, rng):
        draws = self.base.draw_of(theta[:-1], trials, rng)
        return np.where(rng.random(draws.shape) < theta[-1], 0.0, draws)


class Hurdle(_ManyZeros):
    """P(0) = p; P(y) = (1 - p) f(y) / (1 - f(0)) for y > 0 (Mullahy, 1986, J. Econometrics 33)."""

    def initial_parameters(self, y, weight, offset, trials):
        zeros = np.average(y == 0, weights=weight)
        positive = y > 0
        some = positive if positive.any() else np.ones(len(y), bool)
        own = self.base.initial_parameters(
            y[some], weight[some], None if offset is None else offset[some], trials
        )
        return *own, np.clip(zeros, 1e-6, 1 - 1e-6)

    def log_density_unit(self, eta, y, trials):
        counts, log_p, log_q = self._split(eta)
        at_zero, _ = self._at_zero(counts, np.broadcast(*eta, y).shape)
        positive = self.base.log_density_unit(counts, y, trials) - np.log(-np.expm1(at_zero))
        return np.where(y == 0, log_p, log_q + positive)

    def score_unit(self, eta, y, trials):
        counts, log_p, _ = self._split(eta)
        shape = np.broadcast(*eta, y).shape
        at_zero, slope = self._at_zero(counts, shape)
        left = np.exp(at_zero) / -np.expm1(at_zero)
        own = self.base.score_unit(counts, y, trials) + left * slope
        p = np.exp(log_p)
        by_p = np.where(y == 0, 1 - p, -p)
        return np.concatenate([np.where(y == 0, 0.0, own), np.broadcast_to(by_p, shape)[None]])

    def _above(self, theta, trials):
        """Probability of a positive count of the base family."""
        return -np.expm1(np.log(np.maximum(self.base.cdf_of(0.0, theta[:-1], trials), 1e-300)))

    def mean_of(self, theta, trials):
        above = self._above(theta, trials)
        return (1 - theta[-1]) * self.base.mean_of(theta[:-1], trials) / above

    def variance_of(self, theta, trials):
        mean = self.base.mean_of(theta[:-1], trials)
        square = self.base.variance_of(theta[:-1], trials) + mean**2
        above = self._above(theta, trials)
        return (1 - theta[-1]) * square / above - self.mean_of(theta, trials) ** 2

    def cdf_of(self, y, theta, trials):
        above = self._above(theta, trials)
        inside = (self.base.cdf_of(y, theta[:-1], trials) - (1 - above)) / above
        share = theta[-1] + (1 - theta[-1]) * np.clip(inside, 0.0, 1.0)
        return np.where(np.floor(y) < 0, 0.0, share)

    def quantile_of(self, probability, theta, trials):
        above = self._above(theta, trials)
        share = np.clip((np.asarray(probability) - theta[-1]) / (1 - theta[-1]), 0.0, 1.0)
        # the smallest count that the rounded distribution function does not fall short at
        positive = self.base.quantile_of(1 - above + above * share, theta[:-1], trials)
        for _ in range(2):
            lower = positive - 1
            enough = (lower >= 1) & (self.cdf_of(lower, theta, trials) >= probability)
            positive = np.where(enough, lower, positive)
            short = self.cdf_of(positive, theta, trials) < probability
            positive = np.where(short, positive + 1, positive)
        return np.where(share > 0, np.maximum(positive, 1.0), 0.0)

    def draw_of(self, theta, trials, rng):
        u = rng.random(np.shape(theta[0]))
        return self.quantile_of(u, theta, trials)


@register(EXPERTS, "zero_inflated_poisson")
class ZeroInflatedPoissonExpert(ZeroInflated):
    """Poisson counts with log mean a_k + b_k' x, and further zeros with probability p_k.

    Parameters
    ----------
    penalty : L2 or None
        Penalty on the slopes of the counts' mean.
    inflation_features : None, "all" or sequence of int or str
        Columns, among the experts', that the logit of p_k depends on linearly.
    """

    base = PoissonLaw()
    parameters = (*PoissonLaw.parameters, RowParameter("inflation", "logit", -18.0, 18.0))
    column_settings = ("inflation_features",)

    def __init__(self, penalty=None, inflation_features=None):
        self.penalty = penalty
        self.inflation_features = inflation_features


@register(EXPERTS, "zero_inflated_negative_binomial")
class ZeroInflatedNegativeBinomialExpert(ZeroInflated):
    """Negative binomial counts with further zeros of probability p_k.

    Parameters
    ----------
    penalty : L2 or None
        Penalty on the slopes of the counts' mean.
    size_features, inflation_features : None, "all" or sequence of int or str
        Columns, among the experts', of log r_k and of the logit of p_k.
    """

    base = NegativeBinomialExpert()
    parameters = (
        *NegativeBinomialExpert.parameters,
        RowParameter("inflation", "logit", -18.0, 18.0),
    )
    column_settings = ("size_features", "inflation_features")

    def __init__(self, penalty=None, size_features=None, inflation_features=None):
        self.penalty = penalty
        self.size_features = size_features
        self.inflation_features = inflation_features


@register(EXPERTS, "hurdle_poisson")
class HurdlePoissonExpert(Hurdle):
    """Zeros with probability p_k; positive counts are Poisson, given that they are positive.

    Parameters
    ----------
    penalty : L2 or None
        Penalty on the slopes of the counts' mean.
    zero_features : None, "all" or sequence of int or str
        Columns, among the experts', that the logit of p_k depends on linearly.
    """

    base = PoissonLaw()
    parameters = (*PoissonLaw.parameters, RowParameter("zero", "logit", -18.0, 18.0))
    column_settings = ("zero_features",)

    def __init__(self, penalty=None, zero_features=None):
        self.penalty = penalty
        self.zero_features = zero_features


@register(EXPERTS, "hurdle_negative_binomial")
class HurdleNegativeBinomialExpert(Hurdle):
    """Zeros with probability p_k; positive counts are negative binomial, given so.

    Parameters
    ----------
    penalty : L2 or None
        Penalty on the slopes of the counts' mean.
    size_features, zero_features : None, "all" or sequence of int or str
        Columns, among the experts', of log r_k and of the logit of p_k.
    """

    base = NegativeBinomialExpert()
    parameters = (
        *NegativeBinomialExpert.parameters,
        RowParameter("zero", "logit", -18.0, 18.0),
    )
    column_settings = ("size_features", "zero_features")

    def __init__(self, penalty=None, size_features=None, zero_features=None):
        self.penalty = penalty
        self.size_features = size_features
        self.zero_features = zero_features
