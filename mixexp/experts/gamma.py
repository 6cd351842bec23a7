"""Gamma expert: positive targets with constant coefficient of variation."""

from __future__ import annotations

import numpy as np
from scipy import special
from scipy import stats as distributions

from .._component import EXPERTS, register
from ..kernels import reference
from .glm import GLMExpert, GLMParams
from .shapes import LOWEST_SHAPE, bounded_shapes, gamma_shape


@register(EXPERTS, "gamma")
class GammaExpert(GLMExpert):
    """y | x ~ Gamma with mean link^-1(a_k + b_k' x + offset) and shape k (variance mean^2 / shape).

    The shape is the maximum-likelihood one, bounded above by ``max_shape`` and by
    ``1 / max_ratio**2`` times the smallest shape (the shape is an inverse squared scale), for the
    reason that bounds the Gaussian's scales.

    Parameters
    ----------
    penalty : Penalty or None
    link : {"log", "inverse", "identity"}, default "log"
    tied_shape : bool, default=False
        One shape for all experts.
    tied : None, "all" or sequence of int or str
        Positions among the experts' columns, or names, of slopes that all experts share.
    max_shape : float, default=1e6
    max_ratio : float, default=1e-2
    """

    links = ("log", "inverse", "identity")
    kernel_code = reference.GAMMA
    has_dispersion = True
    dispersion_name = "shape"
    positive = True
    extra_per_gain = 1.0
    takes = ("offset", "exposure")

    def __init__(
        self, penalty=None, link=None, tied_shape=False, tied=None, max_shape=1e6, max_ratio=1e-2
    ):
        self.penalty = penalty
        self.link = link
        self.tied_shape = tied_shape
        self.tied = tied
        self.max_shape = max_shape
        self.max_ratio = max_ratio

    @property
    def ties_dispersion(self):  # type: ignore[override]
        return self.tied_shape

    def check_target(self, y, trials=None):
        if not y.min() > 0:
            raise ValueError(
                f"GammaExpert needs positive targets; got min(y) = {y.min():g}. "
                'Shift the target or use expert="gaussian".'
            )

    def unit(self, eta, y, trials, dispersion):
        return reference.gamma_unit(eta, self.link_name, y, trials, dispersion)

    def initial_dispersion(self, y, weight):
        mean = weight @ y / weight.sum()
        shape = gamma_shape(weight @ (np.log(y / mean) - y / mean + 1) / weight.sum())
        return np.minimum(shape, self.max_shape)

    def dispersion_factor(self, dispersion):
        return 1 / dispersion

    def kernel_constant(self, dispersion):
        return dispersion * np.log(dispersion) - special.gammaln(dispersion)

    def dispersion_step(self, params, stats, step):
        extra, mass = stats.extra, np.broadcast_to(stats.mass[..., None], stats.extra.shape)
        if self.tied_shape:
            extra = np.broadcast_to(extra.sum(axis=-2, keepdims=True), extra.shape)
            mass = np.broadcast_to(mass.sum(axis=-2, keepdims=True), extra.shape)
        occupied = mass > 1e-12 * stats.weight[..., None, None]
        shape = gamma_shape(extra / np.where(occupied, mass, 1.0))
        if not occupied.all():
            shape = np.where(occupied, shape, params.dispersion)
            extra, mass = np.where(occupied, extra, 0.0), np.where(occupied, mass, 0.0)
        return bounded_shapes(shape, extra, mass, self.max_shape, self.max_ratio**-2)

    def dispersion_gradient(self, params, stats):
        shape, mass = params.dispersion, stats.mass[..., None]
        gradient = shape * (mass * (np.log(shape) - special.digamma(shape)) + stats.extra)
        if self.tied_shape:
            gradient = np.broadcast_to(gradient.mean(axis=-2, keepdims=True), gradient.shape)
        return np.where(self._at_bound(shape), 0.0, gradient)

    def dispersion_derivatives(self, extra, score, dispersion):
        shape = dispersion
        first = shape * (np.log(shape) - special.digamma(shape) + extra)
        second = first + shape * (1 - shape * special.polygamma(1, shape))
        return first, second, score

    def _at_bound(self, shape):
        """Shapes whose gradient the bounds may balance: the bounded ones and the smallest."""
        smallest = shape.min(axis=-2, keepdims=True)
        ratio = shape >= smallest * self.max_ratio**-2 * (1 - 1e-9)
        return self._high(shape) | (ratio.any(axis=-2, keepdims=True) & (shape == smallest))

    def _high(self, shape):
        return shape >= self._highest(shape) * (1 - 1e-9)

    def _highest(self, shape):
        return np.minimum(self.max_shape, shape.min(axis=-2, keepdims=True) * self.max_ratio**-2)

    def project(self, params):
        shape = params.dispersion
        return GLMParams(params.coef, np.clip(shape, LOWEST_SHAPE, self._highest(shape)))

    def bounded(self, params):
        return self._high(params.dispersion).any(axis=-1)

    def _n_dispersion(self, K, m):
        return m if self.tied_shape else K * m

    def variance(self, mean, trials, dispersion):
        return mean**2 / dispersion

    def cdf(self, y, mean, trials, dispersion):
        return special.gammainc(dispersion, np.maximum(y, 0) * dispersion / mean)

    def quantile(self, probability, mean, trials, dispersion):
        return special.gammaincinv(dispersion, probability) * mean / dispersion

    def density(self, y, mean, trials, dispersion):
        inside = np.where(y > 0, y, 1.0)
        ratio = inside * dispersion / mean
        log_density = special.xlogy(dispersion, ratio) - ratio - special.gammaln(dispersion)
        return np.where(y > 0, np.exp(log_density - np.log(inside)), 0.0)

    def excess(self, threshold, mean, trials, dispersion):
        ratio = np.maximum(threshold, 0) * dispersion / mean
        beyond = mean * special.gammaincc(dispersion + 1, ratio)
        return np.maximum(beyond - threshold * special.gammaincc(dispersion, ratio), 0.0)

    def draw(self, mean, trials, dispersion, rng):
        return distributions.gamma.rvs(dispersion, scale=mean / dispersion, random_state=rng)
