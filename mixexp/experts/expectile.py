"""Expectile expert: asymmetric least squares inside each expert."""

from __future__ import annotations

import numpy as np
from scipy import special

from .._component import EXPERTS, register
from ..kernels.rows import stacked
from .distributional import DistributionalExpert, RowParameter
from .laws import normal_excess


@register(EXPERTS, "expectile")
class ExpectileExpert(DistributionalExpert):
    """y | x has a two-piece normal law with mode a_k + b_k' x, its expectile of one level.

    The density is proportional to exp(-w r^2 / (2 s_k^2)), r = y - a_k - b_k' x, with w = 2 t where
    r > 0 and w = 2 (1 - t) below, t the level. So the location is where the weighted residuals
    balance: the expectile of level t of y given x inside the expert, fitted by asymmetric least
    squares. Level 1/2 is the Gaussian expert (Newey and Powell, 1987, "Asymmetric least squares
    estimation and testing", Econometrica 55, 819-847; Aigner, Amemiya and Poirier, 1976, "On the
    estimation of production frontiers", Int. Econ. Rev. 17).

    An expectile is to the mean what a quantile is to the median: it is moved by the size of
    the residuals, not by their number alone, and the density has a continuous derivative, so that
    there are standard errors; ``covariance="sandwich"`` where the law of y is in doubt.

    `predict` gives the means, as of any family; ``intercept_`` and ``coef_`` are those of the
    expectile.

    Parameters
    ----------
    level : float, default=0.5
        Of the expectile, strictly between 0 and 1.
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
    )
    scales_target = True
    linked_mean = False
    takes = ("offset",)

    def __init__(
        self, level=0.5, penalty=None, scale_features=None, min_scale=1e-3, max_ratio=1e-2
    ):
        self.level = level
        self.penalty = penalty
        self.scale_features = scale_features
        self.min_scale = min_scale
        self.max_ratio = max_ratio

    def check_support(self, y, trials):
        if not 0 < self.level < 1:
            raise ValueError(
                "ExpectileExpert(level=...) is the level of an expectile, strictly between 0 and "
                f"1; got {self.level!r}. Take level=0.5 for the mean."
            )

    @property
    def _weights(self):
        """Of squares above the location, and below it."""
        return 2 * self.level, 2 * (1 - self.level)

    @property
    def _widths(self):
        """Standard deviations of the two pieces, in units of s; and the probability below."""
        above, below = (weight**-0.5 for weight in self._weights)
        return above, below, below / (above + below)

    def initial_parameters(self, y, weight, offset, trials):
        mean = np.average(y, weights=weight)
        spread = np.sqrt(np.average((y - mean) ** 2, weights=weight)) or 1.0
        return mean, spread

    def _weight(self, r):
        above, below = self._weights
        return np.where(r > 0, above, below)

    def log_density_unit(self, eta, y, trials):
        above, below, _ = self._widths
        r = y - eta[0]
        constant = np.log(2 / (above + below)) - 0.5 * np.log(2 * np.pi)
        return constant - eta[1] - 0.5 * self._weight(r) * (r * np.exp(-eta[1])) ** 2

    def score_unit(self, eta, y, trials):
        r = y - eta[0]
        d = r * np.exp(-eta[1])
        pull = self._weight(r) * d
        return stacked(pull * np.exp(-eta[1]), pull * d - 1)

    def hessian_unit(self, eta, y, trials):
        r = y - eta[0]
        weight, inverse = self._weight(r), np.exp(-eta[1])
        d = r * inverse
        own = -weight * inverse**2
        cross = -2 * weight * d * inverse
        return np.stack([np.stack([own, cross]), np.stack([cross, -2 * weight * d * d])])

    # --- the law ----------------------------------------------------------------------------

    def mean_of(self, theta, trials):
        above, below, _ = self._widths
        return theta[0] + theta[1] * np.sqrt(2 / np.pi) * (above - below)

    def variance_of(self, theta, trials):
        above, below, _ = self._widths
        square = (above**3 + below**3) / (above + below)
        return theta[1] ** 2 * (square - 2 / np.pi * (above - below) ** 2)

    def cdf_of(self, y, theta, trials):
        return self._tails(y, theta)[0]

    def survival_of(self, y, theta, trials):
        return self._tails(y, theta)[1]

    def _tails(self, y, theta):
        """P(Y <= y) and P(Y > y), each to relative precision in its own tail."""
        above, below, share = self._widths
        z = (y - theta[0]) / theta[1]
        low = 2 * share * special.ndtr(np.minimum(z, 0.0) / below)
        high = 2 * (1 - share) * special.ndtr(-np.maximum(z, 0.0) / above)
        return np.where(z < 0, low, 1 - high), np.where(z < 0, 1 - low, high)

    def quantile_of(self, probability, theta, trials):
        above, below, share = self._widths
        low = below * special.ndtri(np.minimum(0.5 * probability / share, 0.5))
        high = -above * special.ndtri(np.minimum(0.5 * (1 - probability) / (1 - share), 0.5))
        return theta[0] + theta[1] * np.where(probability < share, low, high)

    def excess(self, threshold, mean, trials, dispersion):
        theta = np.moveaxis(dispersion, -1, 0)
        above, below, share = self._widths
        z = (threshold - theta[0]) / theta[1]
        upper = 2 * (1 - share) * above * normal_excess(np.maximum(z, 0.0) / above, 0.0, 1.0)
        lower = 2 * share * below * normal_excess(-np.minimum(z, 0.0) / below, 0.0, 1.0)
        further = self.mean_of(theta, trials) - threshold + theta[1] * lower
        return np.where(z < 0, further, theta[1] * upper)

    def draw_of(self, theta, trials, rng):
        above, below, share = self._widths
        size = np.abs(rng.standard_normal(np.shape(theta[0])))
        lower = rng.random(np.shape(theta[0])) < share
        return theta[0] + theta[1] * np.where(lower, -below * size, above * size)
