"""Experts whose log density is a check loss: exponential to either side of the location.

Their M-steps are weighted quantile regressions, solved exactly. The density has a kink at the
location, so a maximum is a point where some rows fit exactly, and has no information matrix.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import NamedTuple

import numpy as np
from scipy import special
from scipy.sparse import issparse

from ..kernels.rows import stacked
from ..solvers.check_loss import WeightedRows
from .distributional import DistributionalExpert, DistributionalParams, RowParameter
from .scales import bounded_scales

STILL = 1e-9  # distance of coefficients, relative, that is rounding


class CheckLossStatistics(NamedTuple):
    """rows (K,) `WeightedRows` of the experts; mass (K,) = sum w r; weight ()."""

    rows: np.ndarray
    mass: np.ndarray
    weight: np.ndarray


class _Score(NamedTuple):
    """What `DistributionalExpert.gradient` reads of statistics."""

    score: np.ndarray
    weight: np.ndarray


class CheckLossExpert(DistributionalExpert):
    """Base of the families with density a c / ((a + c) s) exp(-(a max(r, 0) + c max(-r, 0)) / s).

    r = y - location, s the scale; a and c are the family's `slopes`.
    """

    parameters = (
        RowParameter("location", "identity"),
        RowParameter("scale", "log", -30.0, 30.0, "low"),
    )
    column_settings = ()
    scales_target = True
    smooth = False
    newton_m_step = False
    keeps_rows = True
    takes = ("offset",)

    def __init__(self, min_scale=1e-3, max_ratio=1e-2):
        self.min_scale = min_scale
        self.max_ratio = max_ratio

    @property
    @abstractmethod
    def sides(self) -> tuple[float, float]:
        """(a, c): slopes of the loss above and below the location."""

    def initial_parameters(self, y, weight, offset, trials):
        a, c = self.sides
        rows = WeightedRows(np.ones((len(y), 1)), y, weight)
        found = rows.minimum(a, c, np.array([np.average(y, weights=weight)]))
        loss = found.loss / weight.sum()
        return found.coef[0], loss if loss > 0 else 1.0

    # --- the density ------------------------------------------------------------------------

    def _loss(self, r):
        a, c = self.sides
        return np.maximum(a * r, -c * r)

    def log_density_unit(self, eta, y, trials):
        a, c = self.sides
        r = y - eta[0]
        return np.log(a * c / (a + c)) - eta[1] - self._loss(r) * np.exp(-eta[1])

    def score_unit(self, eta, y, trials):
        """First derivatives where there are any; at the kink, the middle of zero."""
        a, c = self.sides
        r = y - eta[0]
        slope = a * (r > 0) - c * (r < 0)
        return stacked(slope * np.exp(-eta[1]), self._loss(r) * np.exp(-eta[1]) - 1)

    def hessian_unit(self, eta, y, trials):
        """Second derivatives where there are any: the loss is linear beside the kink."""
        slope, loss = self.score_unit(eta, y, trials)
        return np.stack([np.stack([np.zeros_like(slope), -slope]), np.stack([-slope, -(loss + 1)])])

    # --- the pass and the M-step ------------------------------------------------------------

    def statistics(self, params, X, y, resp, weight, offset, trials):
        target = y[:, 0] if offset is None else y[:, 0] - offset[:, 0]
        dense = X.toarray() if issparse(X) else X
        rows = np.empty(resp.shape[1], dtype=object)
        for k in range(resp.shape[1]):
            rows[k] = WeightedRows(dense, target, resp[:, k])
        return CheckLossStatistics(rows, resp.sum(axis=0), np.asarray(weight.sum()))

    def m_step(self, params, stats):
        a, c = self.sides
        coef, mass = params.coef.copy(), stats.mass
        scale = np.exp(coef[..., 1, 0])
        for place in np.ndindex(stats.rows.shape):
            found = stats.rows[place].minimum(a, c, params.coef[place][0])
            coef[place][0] = found.coef
            if mass[place] > 0:
                scale[place] = found.loss / mass[place]
        # -m log s - l / s is the Gaussian surrogate of the scale sqrt(s)
        lowest, ratio = np.sqrt(np.exp(self._lowest(self.parameters[1]))), np.sqrt(self.max_ratio)
        root = bounded_scales(np.sqrt(scale)[..., None], mass[..., None], lowest, ratio)
        coef[..., 1, 0] = 2 * np.log(root[..., 0])
        return self.project(DistributionalParams(coef))

    def gradient(self, params, stats):
        """As of a smooth family; zero by a location at which the subgradient condition holds."""
        q = params.coef.shape[-1]
        scale = np.exp(params.coef[..., 1, 0])
        score = np.empty((*scale.shape, q + 1))
        for place in np.ndindex(scale.shape):
            score[place] = self._score(params.coef[place][0], stats.rows[place], scale[place])
        score[..., -1] -= stats.mass
        return super().gradient(params, _Score(score, stats.weight))

    def _score(self, location, rows, scale):
        a, c = self.sides
        loss, score = rows.loss_and_score(a, c, location)
        found = rows.minimum(a, c, location)
        still = np.abs(found.coef - location).max() <= STILL * (1 + np.abs(location).max())
        if found.settled and still:
            score = np.zeros_like(score)
        return np.append(score, loss) / scale

    def shift(self, stats, params, step):
        """The rows are the same wherever the surrogate is asked for."""
        return stats

    def smoothed(self, params, mass):
        """The experts with the curvature that the expected loss has at the planes.

        ``mass`` (K,) effective rows of the experts.
        """
        return SmoothedCheckLoss(self, self._bandwidths(params, mass))

    def _bandwidths(self, params, mass):
        """(K,) half-widths about the planes, by the rule of Hall and Sheather for normal rows.

        Hall and Sheather (1988), JRSS B 50, 381-391; Koenker (2005), "Quantile Regression",
        section 3.4. Normal rows of standard deviation d have the scale (a + c) d phi(z).
        """
        a, c = self.sides
        level = a / (a + c)
        z = special.ndtri(level)
        normal = np.exp(-0.5 * z * z) / np.sqrt(2 * np.pi)
        step = (special.ndtri(0.975) ** 2 * 1.5 * normal**2 / (2 * z * z + 1) / mass) ** (1 / 3)
        step = np.minimum(step, 0.5 * min(level, 1 - level))
        width = 0.5 * (special.ndtri(level + step) - special.ndtri(level - step))
        return width * np.exp(params.coef[:, 1, 0]) / ((a + c) * normal)

    # --- the law ----------------------------------------------------------------------------

    def _rates(self, theta):
        """Exponential rates above and below, and the probability below."""
        a, c = self.sides
        return a / theta[1], c / theta[1], a / (a + c)

    def mean_of(self, theta, trials):
        above, below, share = self._rates(theta)
        return theta[0] + (1 - share) / above - share / below

    def variance_of(self, theta, trials):
        above, below, _ = self._rates(theta)
        return 1 / above**2 + 1 / below**2

    def cdf_of(self, y, theta, trials):
        above, below, share = self._rates(theta)
        r = y - theta[0]
        low = share * np.exp(below * np.minimum(r, 0.0))
        return np.where(r < 0, low, 1 - (1 - share) * np.exp(-above * np.maximum(r, 0.0)))

    def survival_of(self, y, theta, trials):
        above, below, share = self._rates(theta)
        r = y - theta[0]
        high = (1 - share) * np.exp(-above * np.maximum(r, 0.0))
        return np.where(r < 0, 1 - share * np.exp(below * np.minimum(r, 0.0)), high)

    def quantile_of(self, probability, theta, trials):
        above, below, share = self._rates(theta)
        with np.errstate(divide="ignore"):
            low = np.log(np.minimum(probability / share, 1.0)) / below
            high = -np.log(np.minimum((1 - probability) / (1 - share), 1.0)) / above
        return theta[0] + np.where(probability < share, low, high)

    def excess(self, threshold, mean, trials, dispersion):
        theta = np.moveaxis(dispersion, -1, 0)
        above, below, share = self._rates(theta)
        r = threshold - theta[0]
        high = (1 - share) * np.exp(-above * np.maximum(r, 0.0)) / above
        low = self.mean_of(theta, trials) - threshold
        low = low + share * np.exp(below * np.minimum(r, 0.0)) / below
        return np.where(r < 0, low, high)

    def draw_of(self, theta, trials, rng):
        above, below, share = self._rates(theta)
        size = rng.standard_exponential(np.shape(theta[0]))
        lower = rng.random(np.shape(theta[0])) < share
        return theta[0] + np.where(lower, -size / below, size / above)


class SmoothedCheckLoss:
    """Experts of a check loss whose second derivatives hold those of the expected loss.

    The score jumps at the plane, by the sum of the slopes, so that its expectation has the
    derivative -(a + c) f(plane) / s there; the density f is that of the rows within a bandwidth,
    the nearer ones counting more (Powell, 1991, "Estimation of monotonic regression models under
    quantile restrictions"). Everything else is the family's.

    Parameters
    ----------
    family : CheckLossExpert
    widths : (K,) half-widths
    """

    def __init__(self, family, widths):
        self._family, self._widths = family, widths

    def __getattr__(self, name):
        return getattr(self._family, name)

    def row_unit(self, params, X, y, offset, trials):
        family = self._family
        unit = family.row_unit(params, X, y, offset, trials)
        location, log_scale = family.predictors(params, X, offset)
        near = np.maximum(1 - np.abs(y - location) / self._widths, 0.0) / self._widths
        hessian = unit.hessian.copy()
        hessian[0, 0] -= sum(family.sides) * np.exp(-log_scale) * near
        return unit._replace(hessian=hessian)
