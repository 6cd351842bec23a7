"""Laplace experts: regressions of medians, and of quantiles."""

from __future__ import annotations

from .._component import EXPERTS, register
from .check_loss import CheckLossExpert


@register(EXPERTS, "laplace")
class LaplaceExpert(CheckLossExpert):
    """y | x = a_k + b_k' x + s_k Z, Z with the density ``exp(-|z|) / 2``.

    Robust: the location is the median of y given x inside the expert, fitted by weighted least
    absolute deviations (Nguyen and McLachlan, 2016, "Laplace mixture of linear experts", Comput.
    Stat. Data Anal. 93, 177-191). It is the asymmetric Laplace expert of level 1/2, whose scale is
    half of this one. An M-step is exact, not a step of a majorisation.

    The density has a kink at the location: there is no observed information, and `inference` offers
    ``covariance="density"`` and ``"bootstrap"``.

    Parameters
    ----------
    min_scale : float, default=1e-3
        Lower bound of s_k in standard deviations of the target.
    max_ratio : float, default=1e-2
        Lower bound of s_k over the largest scale.
    """

    @property
    def sides(self):
        return 1.0, 1.0

    def mean_of(self, theta, trials):
        return theta[0]


@register(EXPERTS, "asymmetric_laplace")
class AsymmetricLaplaceExpert(CheckLossExpert):
    """y | x with the density t (1 - t) / s_k exp(-rho_t(y - a_k - b_k' x) / s_k), t the level.

    rho_t(r) = r (t - 1[r < 0]) is the check loss, so that a_k + b_k' x is the quantile of level t
    of y given x inside the expert, and M-steps are weighted quantile regressions (Koenker and
    Machado, 1999, "Goodness of fit and related inference processes for quantile regression", JASA
    94, 1296-1310; Yu and Zhang, 2005, "A three-parameter asymmetric Laplace distribution and its
    extension", Commun. Stat. Theory Methods 34).

    `predict` gives the means, as of any family: a_k + b_k' x + s_k (1 - 2 t) / (t (1 - t)).
    ``intercept_`` and ``coef_`` are those of the quantile. Levels that differ between experts are a
    list of experts: ``expert=[AsymmetricLaplaceExpert(0.1), AsymmetricLaplaceExpert(0.9)]``. No
    observed information exists; see `LaplaceExpert`.

    Parameters
    ----------
    level : float, default=0.5
        Of the quantile, strictly between 0 and 1.
    min_scale : float, default=1e-3
        Lower bound of s_k in standard deviations of the target.
    max_ratio : float, default=1e-2
        Lower bound of s_k over the largest scale.
    """

    linked_mean = False

    def __init__(self, level=0.5, min_scale=1e-3, max_ratio=1e-2):
        self.level = level
        self.min_scale = min_scale
        self.max_ratio = max_ratio

    def check_target(self, y, trials=None):
        if not 0 < self.level < 1:
            raise ValueError(
                "AsymmetricLaplaceExpert(level=...) is the level of a quantile, strictly between 0 "
                f"and 1; got {self.level!r}. Take level=0.5 for the median."
            )
        super().check_target(y, trials)

    @property
    def sides(self):
        return self.level, 1.0 - self.level
