"""Gaussian expert: linear mean, own or tied standard deviation."""

from __future__ import annotations

import numpy as np
from scipy import special
from scipy import stats as distributions
from sklearn.base import clone

from .._component import EXPERTS, register
from ..kernels import reference
from ..solvers import quadratic_change
from .degree import check_degree
from .glm import GLMExpert, GLMParams
from .laws import normal_density, normal_excess
from .scales import bounded_scales


@register(EXPERTS, "gaussian")
class GaussianExpert(GLMExpert):
    """y | x ~ N(mean, sigma_k^2) with link(mean) = a_k + b_k' x.

    Scales are the maximum-likelihood ones (divisor: the expert's weight). They are bounded
    below, each by ``min_scale`` times the target's standard deviation and by ``max_ratio``
    times the largest scale; without a bound the likelihood has no maximum (Hathaway, 1985,
    Annals of Statistics 13, 795-800). Where the bound is inactive the fit is exact maximum
    likelihood; a fit that leans on it says so.

    Parameters
    ----------
    penalty : Penalty or None
        Penalty on the slopes of the standardised columns (the target is standardised too).
    link : {"identity", "log", "inverse"}, default "identity"
    tied_scale : bool, default=False
        One standard deviation for all experts.
    tied : None, "all" or sequence of int or str
        Positions among the experts' columns, or names, of slopes that all experts share.
    scale_free : bool, default=False
        True: the penalty sees slopes divided by the expert's standard deviation (Stadler,
        Buhlmann and van de Geer, 2010, TEST 19, 209-256). A strength then means the same in
        experts of any scale; otherwise a falling standard deviation weakens the penalty, and
        with many columns a fit may run into interpolation.
    min_scale : float, default=1e-3
    max_ratio : float, default=1e-2
    degree : int, default=1
        Means (on the link's scale) are polynomials of this degree in the experts' columns, with
        all interactions: estimators add the monomials as columns ("x0^2", "x0 x1") that the
        experts see and the gate does not. Centre columns that lie far from zero first.
    """

    links = ("identity", "log", "inverse")
    kernel_code = reference.GAUSSIAN
    has_dispersion = True
    dispersion_name = "std. deviation"
    extra_per_gain = -2.0
    takes = ("offset",)

    def __init__(
        self,
        penalty=None,
        link=None,
        tied_scale=False,
        tied=None,
        scale_free=False,
        min_scale=1e-3,
        max_ratio=1e-2,
        degree=1,
    ):
        self.penalty = penalty
        self.link = link
        self.tied_scale = tied_scale
        self.tied = tied
        self.scale_free = scale_free
        self.min_scale = min_scale
        self.max_ratio = max_ratio
        self.degree = degree

    @property
    def compiled_m_step(self):  # type: ignore[override]
        return self.tied is None and not self.tied_scale and self._plain_penalty

    @property
    def scale_bounds(self):
        """The bounds of `bounded_scales`."""
        return self.min_scale, self.max_ratio

    @property
    def scales_target(self):  # type: ignore[override]
        return self.link_name == "identity"

    @property
    def ties_dispersion(self):  # type: ignore[override]
        return self.tied_scale

    def check_target(self, y, trials=None):
        check_degree(self.degree)
        if self.scale_free and not (self.sparse and self.penalty.separable):
            raise ValueError(
                "GaussianExpert(scale_free=True) needs a sparse penalty of single slopes, such as "
                f"L1(0.1); got penalty={self.penalty!r}."
            )

    def for_target(self, target, n_distinct):
        if self.link_name == "log" and not (target.largest > 0):
            raise ValueError("GaussianExpert(link='log') needs some positive targets.")
        if self.link_name == "inverse" and not (target.mean > 0):
            raise ValueError("GaussianExpert(link='inverse') needs a positive mean target.")
        if self.scales_target:
            return self
        # the target is not standardised: ``min_scale`` is brought to its units instead
        spread = target.spread[np.isfinite(target.spread)]
        factor = float(spread.min()) if len(spread) else 1.0
        return clone(self).set_params(min_scale=self.min_scale * factor)

    def unit(self, eta, y, trials, dispersion):
        return reference.gaussian_unit(eta, self.link_name, y, trials, dispersion)

    def initial_mean(self, y, weight, offset, trials):
        mean = weight @ y / weight.sum()
        return mean if self.link_name == "identity" else np.maximum(mean, 1e-8 * y.std(axis=0))

    def initial_dispersion(self, y, weight):
        mean = weight @ y / weight.sum()
        spread = np.sqrt(weight @ (y - mean) ** 2 / weight.sum())
        return np.where(spread > 0, spread, 1.0)

    def dispersion_factor(self, dispersion):
        return dispersion**2

    def kernel_constant(self, dispersion):
        return -reference.HALF_LOG_2PI - np.log(dispersion)

    def penalty_unit(self, dispersion):
        return dispersion if self.scale_free else np.ones_like(dispersion)

    def dispersion_step(self, params, stats, step):
        squares = stats.extra
        if self.link_name == "identity":
            squares = squares - quadratic_change(stats.gram, stats.score, step)
            squares = np.maximum(squares, 0)
        mass = stats.mass[..., None]
        pull, added = self._scale_penalty(params, stats, step)
        squares = squares + added
        if self.tied_scale:
            squares = np.broadcast_to(squares.sum(axis=-2, keepdims=True), squares.shape)
            mass = np.broadcast_to(mass.sum(axis=-2, keepdims=True), squares.shape)
            pull = pull.sum(axis=-2, keepdims=True)
        occupied = mass > 1e-12 * stats.weight[..., None, None]
        if not occupied.all():
            mass = np.where(occupied, mass, 1.0)
        # maximiser of -mass log s - squares / (2 s^2) - pull / s
        sigma = (pull + np.sqrt(pull**2 + 4 * mass * squares)) / (2 * mass)
        if not occupied.all():
            sigma = np.where(occupied, sigma, params.dispersion)
        return bounded_scales(sigma, mass, self.min_scale, self.max_ratio, pull)

    def _scale_penalty(self, params, stats, step):
        """What a scale-free penalty adds to the scales' problem: pull / s + added / (2 s^2).

        Both (..., K, m), in the units of ``stats``; at the slopes after the step.
        """
        if not (self.scale_free and self.sparse):
            nothing = np.zeros(params.dispersion.shape)
            return nothing, nothing
        slopes = (params.coef + step)[..., 1:]
        seen = self._members(slopes / params.dispersion[..., None])
        l1, l2 = (self._members(strength) for strength in self.penalty.majoriser(seen))
        weight = stats.weight[..., None, None]
        return weight * (l1 * np.abs(slopes)).sum(-1), weight * (l2 * slopes**2).sum(-1)

    def dispersion_gradient(self, params, stats):
        sigma = params.dispersion
        pull, added = self._scale_penalty(params, stats, 0.0)
        gradient = (stats.extra + added) / sigma**2 + pull / sigma - stats.mass[..., None]
        if self.tied_scale:
            gradient = np.broadcast_to(gradient.mean(axis=-2, keepdims=True), gradient.shape)
        at_bound = self._at_bound(sigma)
        return np.where(at_bound, 0.0, gradient) if at_bound.any() else gradient

    def dispersion_derivatives(self, extra, score, dispersion):
        ratio = extra / dispersion**2
        return ratio - 1, -2 * ratio, -2 * score

    def _at_bound(self, sigma):
        """Scales whose gradient the bounds may balance: the bounded one and the largest."""
        low = self._low(sigma)
        if not low.any():
            return low
        ratio = sigma <= self.max_ratio * sigma.max(axis=-2, keepdims=True) * (1 + 1e-9)
        pulled = ratio.any(axis=-2, keepdims=True) & (sigma == sigma.max(axis=-2, keepdims=True))
        return low | pulled

    def _low(self, sigma):
        return sigma <= self._floor(sigma) * (1 + 1e-9)

    def _floor(self, sigma):
        largest = np.maximum.reduce(sigma, axis=-2, keepdims=True)
        return np.maximum(self.min_scale, self.max_ratio * largest)

    def project(self, params):
        sigma = params.dispersion
        return GLMParams(params.coef, np.maximum(sigma, self._floor(sigma)))

    def bounded(self, params):
        return self._low(params.dispersion).any(axis=-1)

    def _n_dispersion(self, K, m):
        return m if self.tied_scale else K * m

    def variance(self, mean, trials, dispersion):
        return np.broadcast_to(dispersion**2, mean.shape)

    def cdf(self, y, mean, trials, dispersion):
        return special.ndtr((y - mean) / dispersion)

    def quantile(self, probability, mean, trials, dispersion):
        return mean + dispersion * special.ndtri(probability)

    def density(self, y, mean, trials, dispersion):
        return normal_density(y, mean, dispersion)

    def excess(self, threshold, mean, trials, dispersion):
        return normal_excess(threshold, mean, dispersion)

    def draw(self, mean, trials, dispersion, rng):
        return distributions.norm.rvs(mean, dispersion, random_state=rng)
