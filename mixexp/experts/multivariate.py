"""Multivariate Gaussian expert: linear means of several responses, correlated residuals."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy import special

from .._component import EXPERTS, register
from ..kernels import small
from ..kernels.designs import linear, weighted_grams, weighted_sums
from ..scaling import rescale_linear
from ..solvers.covariance import (
    AT_ONCE,
    LOG_2PI,
    Covariance,
    block_mask,
    check_structure,
)
from .base import Expert
from .degree import check_degree
from .laws import normal_density, normal_excess


class MultivariateParams(NamedTuple):
    """coef (K, m, q): intercept first; factor (K, m, m) or (K, m): of the residual covariances.

    Factors are those of `solvers.covariance`; both are on standardised columns and responses.
    """

    coef: np.ndarray
    factor: np.ndarray

    @property
    def dispersion(self):
        """(..., K, m) residual standard deviations of each response."""
        if self.factor.ndim < self.coef.ndim:
            return self.factor
        return np.sqrt((self.factor**2).sum(axis=-1))


class MultivariateStatistics(NamedTuple):
    """Moments of the residuals at the current coefficients; the quadratic model is exact.

    gram (K, q, q) = sum w r x x'; score (K, m, q) = sum w r e x'; outer (K, m, m) = sum w r e e',
    or its diagonal (K, m); mass (K,) = sum w r; weight () = sum w.
    """

    gram: np.ndarray
    score: np.ndarray
    outer: np.ndarray
    mass: np.ndarray
    weight: np.ndarray


@register(EXPERTS, "multivariate_gaussian")
class MultivariateGaussianExpert(Expert):
    """y | x ~ N(a_k + B_k x, Sigma_k) for several responses, with correlated residuals.

    Parameters
    ----------
    covariance : {"full", "diagonal", "spherical", "block_diagonal"}, default="full"
        Structure of Sigma_k. "spherical" (one variance for all responses) standardises the
        responses by one common scale, so that it is spherical in the user's units.
    tied_covariance : bool, default=False
        One residual covariance for all experts.
    blocks : list of lists of int, a list of such partitions (one for each expert), or None
        For "block_diagonal": partitions of the responses' positions. With one for each expert
        give the fit a ``start`` that says which expert is which.
    degree : int, default=1
        Means are polynomials of this degree in the experts' columns; see `GaussianExpert`.
    min_scale : float, default=1e-3
        Least residual standard deviation along any direction of the standardised responses.
        Where it is inactive the fit is exact maximum likelihood; a fit that leans on it says so.

    References
    ----------
    Nguyen, Nguyen, Chamroukhi and Forbes (2022), "A non-asymptotic approach for model selection
    via penalization in high-dimensional mixture of experts models", Electron. J. Stat. 16.
    """

    scales_target = True
    multi_output = True
    has_dispersion = True
    dispersion_name = "std. deviation"
    link_name = "identity"
    takes = ("offset",)

    def __init__(
        self, covariance="full", tied_covariance=False, blocks=None, degree=1, min_scale=1e-3
    ):
        self.covariance = covariance
        self.tied_covariance = tied_covariance
        self.blocks = blocks
        self.degree = degree
        self.min_scale = min_scale

    @property
    def scales_target_together(self):  # type: ignore[override]
        return self.covariance == "spherical"

    def structure(self, m) -> Covariance:
        """The covariances' structure for m responses."""
        kind = check_structure(self.covariance, type(self).__name__)
        if not self.min_scale > 0:
            raise ValueError(f"{type(self).__name__} needs min_scale > 0; got {self.min_scale!r}.")
        mask = block_mask(self.blocks, m) if kind == "block_diagonal" else None
        if mask is not None and mask.ndim == 3 and self.tied_covariance:
            raise ValueError("tied_covariance needs one partition for all experts in blocks.")
        return Covariance(kind, bool(self.tied_covariance), float(self.min_scale), mask)

    def check_target(self, y, trials=None):
        check_degree(self.degree)
        self.structure(y.shape[1])

    def initial(self, K, q, y, weight, offset, trials):
        m = y.shape[1]
        structure = self.structure(m)
        coef = np.zeros((K, m, q))
        coef[:, :, 0] = weight @ y / weight.sum()
        residual = y - coef[0, :, 0]
        moment = (
            (residual * weight[:, None]).T @ residual if structure.dense else weight @ residual**2
        )
        copies = np.repeat(moment[None], K, axis=0)
        mass = np.full(K, weight.sum())
        factor = structure.estimate(copies, mass, structure.unit(K, m))
        return MultivariateParams(coef, factor)

    # --- one pass ---------------------------------------------------------------------------

    def _residuals(self, params, X, y, offset):
        """(slice of experts, residuals (experts, n, m)), so many experts at a time as fit."""
        K, m, q = params.coef.shape
        step = max(1, AT_ONCE // max(1, X.shape[0] * m))
        centre = y if offset is None else y - offset
        for start in range(0, K, step):
            experts = slice(start, min(start + step, K))
            coef = params.coef[experts]
            eta = linear(X, coef.reshape(-1, q)).reshape(X.shape[0], -1, m)
            yield experts, centre[None] - np.moveaxis(eta, 1, 0)

    def log_density(self, params, X, y, offset, trials):
        out = np.empty((X.shape[0], len(params.coef)))
        structure = self.structure(y.shape[1])
        for experts, residual in self._residuals(params, X, y, offset):
            out[:, experts] = _log_densities(structure, residual, params.factor[experts]).T
        return out

    def statistics(self, params, X, y, resp, weight, offset, trials):
        K, m, q = params.coef.shape
        dense = self.structure(m).dense
        score = np.empty((K, m, q))
        outer = np.empty((K, m, m) if dense else (K, m))
        for experts, residual in self._residuals(params, X, y, offset):
            weighted = residual * resp.T[experts, :, None]
            columns = np.moveaxis(weighted, 0, 1).reshape(X.shape[0], -1)
            score[experts] = weighted_sums(X, columns).reshape(-1, m, q)
            if dense:
                outer[experts] = np.swapaxes(weighted, 1, 2) @ residual
            else:
                outer[experts] = np.einsum("knm,knm->km", weighted, residual)
        return MultivariateStatistics(
            weighted_grams(X, resp), score, outer, resp.sum(axis=0), np.asarray(weight.sum())
        )

    def m_step(self, params, stats):
        step = _newton_step(stats.gram, stats.score)
        moved = self._moved(stats, step)
        structure = self.structure(params.coef.shape[-2])
        return MultivariateParams(
            params.coef + step, structure.estimate(moved.outer, stats.mass, params.factor)
        )

    def _moved(self, stats, step):
        """The statistics at coefficients moved by ``step``: exact."""
        change = step @ stats.gram
        if self.structure(step.shape[-2]).dense:
            cross = step @ np.swapaxes(stats.score, -1, -2)
            both = cross + np.swapaxes(cross, -1, -2)
            outer = stats.outer - both + change @ np.swapaxes(step, -1, -2)
        else:
            outer = stats.outer + (step * (change - 2 * stats.score)).sum(axis=-1)
        return stats._replace(score=stats.score - change, outer=outer)

    def shift(self, stats, params, step):
        return self._moved(stats, step.coef)

    def gradient(self, params, stats):
        structure = self.structure(params.coef.shape[-2])
        columns = np.moveaxis(stats.score, -1, 0)
        coef = np.moveaxis(structure.solve(params.factor, columns), 0, -1)
        factor = structure.gradient(params.factor, stats.outer, stats.mass)
        lead = coef.shape[:-3]
        both = np.concatenate([coef.reshape(*lead, -1), factor.reshape(*lead, -1)], axis=-1)
        return both / stats.weight[..., None]

    def penalty_value(self, params):
        return np.zeros(params.coef.shape[:-3])

    # --- the chart, counts and bounds -------------------------------------------------------

    def pack(self, params):
        lead = params.coef.shape[:-3]
        factor = self.structure(params.coef.shape[-2]).pack(params.factor)
        return np.concatenate([params.coef.reshape(*lead, -1), factor.reshape(*lead, -1)], axis=-1)

    def unpack(self, vector, params):
        K, m, q = params.coef.shape[-3:]
        structure, lead = self.structure(m), vector.shape[:-1]
        coef = vector[..., : K * m * q].reshape(*lead, K, m, q)
        factor = vector[..., K * m * q :].reshape(*lead, K, structure.size(m))
        return MultivariateParams(coef, structure.unpack(factor, m))

    def n_free(self, params):
        K, m, q = params.coef.shape
        return K * m * q + self.structure(m).n_free(K, m)

    def slopes(self, params):
        K, m, q = params.coef.shape
        return (K * m * (q - 1),) * 2

    def rows_needed(self, params):
        """Rows without which one expert is singular; they grow with the largest block alone."""
        _, m, q = params.coef.shape
        return q + self.structure(m).rows_needed(m) - 1

    def bounded(self, params):
        return self.structure(params.coef.shape[-2]).bounded(params.factor)

    def rescale(self, params, columns, old, new):
        ratio = old.y_scale / new.y_scale
        coef = rescale_linear(params.coef, columns, old, new) * ratio[:, None]
        coef[..., 0] += (old.y_centre - new.y_centre) / new.y_scale
        factor, dense = params.factor, self.structure(len(ratio)).dense
        if dense and factor.ndim < coef.ndim:  # from a fit without correlations
            factor = factor[..., None] * np.eye(len(ratio))
        elif not dense:
            factor = params.dispersion
        return MultivariateParams(coef, factor * (ratio[:, None] if dense else ratio))

    # --- predictions ------------------------------------------------------------------------

    def mean(self, params, X, offset, trials):
        K, m, q = params.coef.shape
        eta = linear(X, params.coef.reshape(K * m, q)).reshape(X.shape[0], K, m)
        return eta if offset is None else eta + offset[:, None, :]

    def sample(self, params, X, labels, offset, trials, rng):
        mean = self.mean(params, X, offset, trials)[np.arange(len(labels)), labels]
        structure = self.structure(params.coef.shape[-2])
        return mean + structure.draw(params.factor, labels, rng)

    def display(self, params):
        structure = self.structure(params.coef.shape[-2])
        return {"covariances_": structure.matrices(params.factor)}

    def variance(self, mean, trials, dispersion):
        """Variances of one response."""
        return np.broadcast_to(dispersion**2, mean.shape)

    def cdf(self, y, mean, trials, dispersion):
        """P(Y <= y) of one response."""
        return special.ndtr((y - mean) / dispersion)

    def quantile(self, probability, mean, trials, dispersion):
        """Quantiles of one response."""
        return mean + dispersion * special.ndtri(probability)

    def density(self, y, mean, trials, dispersion):
        return normal_density(y, mean, dispersion)

    def excess(self, threshold, mean, trials, dispersion):
        return normal_excess(threshold, mean, dispersion)


def _log_densities(structure, residual, factor):
    """(K, n) log N(e; 0, Sigma_k) of residuals (K, n, m)."""
    m = residual.shape[-1]
    if not structure.dense:
        squares = ((residual / factor[:, None, :]) ** 2).sum(axis=-1)
        log_volume = np.log(factor).sum(axis=-1)
    else:
        white = residual @ np.swapaxes(np.linalg.inv(factor), -1, -2)
        squares = np.einsum("knm,knm->kn", white, white)
        log_volume = np.log(np.diagonal(factor, axis1=-2, axis2=-1)).sum(axis=-1)
    return -0.5 * squares - log_volume[:, None] - 0.5 * m * LOG_2PI


def _newton_step(gram, score):
    """score gram^-1, of shapes (..., K, m, q) and (..., K, q, q), with a jitter as in `solvers`."""
    q = gram.shape[-1]
    diagonal = np.einsum("...ii->...i", gram)
    largest = diagonal.max(axis=-1, keepdims=True)
    regular = gram.copy()
    regular.reshape(*regular.shape[:-2], q * q)[..., :: q + 1] += (
        small.JITTER * (diagonal + 0.01 * largest) + small.FLOOR
    )
    return np.swapaxes(np.linalg.solve(regular, np.swapaxes(score, -1, -2)), -1, -2)
