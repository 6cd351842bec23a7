"""The generalised linear families in the form that intervals need: parameters of every row."""

from __future__ import annotations

import numpy as np
from scipy import special

from .base import Expert
from .binomial import BinomialExpert
from .counts import PoissonLaw
from .distributional import DistributionalExpert, RowParameter
from .gamma import GammaExpert
from .gaussian import GaussianExpert
from .heteroscedastic import HeteroscedasticGaussianExpert
from .heteroscedastic_gamma import HeteroscedasticGammaExpert
from .poisson import PoissonExpert

SETTINGS = ("tied", "tied_scale", "tied_shape", "scale_free")  # that the row-wise form lacks


class BinomialLaw(DistributionalExpert):
    """Numbers of successes among the trials, with a logit link; `BinomialExpert` is faster."""

    parameters = (RowParameter("probability", "logit"),)
    column_settings = ()
    support = (0.0, np.inf)
    discrete = True
    takes = ("offset", "trials")

    def __init__(self, penalty=None):
        self.penalty = penalty

    @property
    def title(self):
        return "BinomialExpert"

    def check_support(self, y, trials):
        BinomialExpert().check_target(y[:, None], trials)

    def initial_parameters(self, y, weight, offset, trials):
        total = np.ones(len(y)) if trials is None else trials
        return (np.clip((weight @ y + 0.5) / (weight @ total + 1), 1e-6, 1 - 1e-6),)

    def log_density_unit(self, eta, y, trials):
        total = 1.0 if trials is None else trials
        ways = special.gammaln(total + 1) - special.gammaln(y + 1) - special.gammaln(total - y + 1)
        return ways + y * eta[0] - total * np.logaddexp(0.0, eta[0])

    def score_unit(self, eta, y, trials):
        total = 1.0 if trials is None else trials
        return (y - total * special.expit(eta[0]))[None]

    def mean_of(self, theta, trials):
        return theta[0] * (1.0 if trials is None else trials)

    def variance_of(self, theta, trials):
        return theta[0] * (1 - theta[0]) * (1.0 if trials is None else trials)

    def cdf_of(self, y, theta, trials):
        total, y = 1.0 if trials is None else trials, np.floor(y)
        k = np.clip(y, 0, np.maximum(total - 1, 0))
        inside = special.betainc(np.maximum(total - k, 1e-300), k + 1, 1 - theta[0])
        return np.where(y < 0, 0.0, np.where(y >= total, 1.0, inside))

    def survival_of(self, y, theta, trials):
        total, y = 1.0 if trials is None else trials, np.floor(y)
        k = np.clip(y, 0, np.maximum(total - 1, 0))
        inside = special.betainc(k + 1, np.maximum(total - k, 1e-300), theta[0])
        return np.where(y < 0, 1.0, np.where(y >= total, 0.0, inside))

    def quantile_of(self, probability, theta, trials):
        from scipy.stats import binom

        return binom.ppf(probability, 1 if trials is None else trials, theta[0])

    def draw_of(self, theta, trials, rng):
        total = np.ones(np.shape(theta[0])) if trials is None else trials
        return rng.binomial(total.astype(int), theta[0]).astype(float)


def rowwise(expert: Expert) -> DistributionalExpert:
    """The same family as a distribution with parameters of every row.

    Raises
    ------
    ValueError
        If the family, or a setting of it, has no such form.
    """
    if isinstance(expert, DistributionalExpert) and not expert.classifies:
        return expert
    name, penalty = type(expert).__name__, getattr(expert, "penalty", None)
    given = [setting for setting in SETTINGS if getattr(expert, setting, None) not in (None, False)]
    if given:
        raise ValueError(
            f"{name}({given[0]}=...) does not take intervals, nor a place in a list of families; "
            f"leave {given[0]} out."
        )
    link = getattr(expert, "link_name", None)
    ratio = {"max_ratio": expert.max_ratio} if hasattr(expert, "max_ratio") else {}
    if isinstance(expert, GaussianExpert) and link == "identity":
        least = {"min_scale": expert.min_scale, "scale_features": None}
        return HeteroscedasticGaussianExpert(penalty, **least, **ratio)
    if isinstance(expert, GammaExpert) and link == "log":
        return HeteroscedasticGammaExpert(penalty, shape_features=None, **ratio)
    if isinstance(expert, PoissonExpert) and link == "log":
        return PoissonLaw(penalty)
    if isinstance(expert, BinomialExpert) and link == "logit":
        return BinomialLaw(penalty)
    raise ValueError(
        f"{name} with link {link!r} does not take intervals, nor a place in a list of families: "
        "use a family with a distribution function of one response and its default link."
    )
