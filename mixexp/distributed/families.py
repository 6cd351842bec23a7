"""What the reduction asks of a family: experts' values on the support, divergences, and updates.

The cost between two experts is the Kullback-Leibler divergence of their laws of y at x, from the
local expert to the reduced one (Chamroukhi and Pham, 2023, arXiv:2312.09877).
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from scipy.special import logsumexp

from ..experts import GLMParams, MultinomialParams
from ..kernels.designs import weighted_grams, weighted_sums
from ..kernels.reference import log_softmax
from ..solvers import solve_newton
from .logit import soft_logit

DRAWS = 2  # of y at a row of the support
INNER_STEPS = 3  # Newton steps of a multinomial expert within one update


class GaussianValues(NamedTuple):
    """mean (S, L, m) of the experts on the support; variance (L, m)."""

    mean: np.ndarray
    variance: np.ndarray

    def rows(self, block):
        return self._replace(mean=self.mean[block])


class MultinomialValues(NamedTuple):
    """prob (S, L, C); negentropy (S, L) = sum_c p log p."""

    prob: np.ndarray
    negentropy: np.ndarray

    def rows(self, block):
        return MultinomialValues(self.prob[block], self.negentropy[block])


class GaussianFamily:
    """Linear means and constant variances; several responses are independent."""

    name = "gaussian"

    def values(self, params, X) -> GaussianValues:
        L, m, q = params.coef.shape
        mean = (X @ params.coef.reshape(L * m, q).T).reshape(len(X), L, m)
        return GaussianValues(mean, params.dispersion**2)

    def cost(self, values, reduced, k):
        """(S, L) divergences from all local experts to reduced expert k.

        1/2 [log(s_k^2 / s_l^2) + s_l^2 / s_k^2 + (x'b_l - x'b_k)^2 / s_k^2 - 1].
        """
        variance = reduced.variance[k]
        constant = np.log(variance / values.variance) + values.variance / variance - 1
        out = np.broadcast_to(0.5 * constant.sum(axis=1), values.mean.shape[:2]).copy()
        for j, own in enumerate(variance):
            gap = values.mean[:, :, j] - reduced.mean[:, k, j][:, None]
            out += gap * gap * (0.5 / own)
        return out

    def sums(self, values, plan):
        """(S, 2 m) of one reduced expert: plan-weighted means, and second moments of y."""
        first = np.einsum("sl,slm->sm", plan, values.mean)
        second = np.einsum("sl,slm->sm", plan, values.mean**2) + plan @ values.variance
        return np.concatenate([first, second], axis=1)

    def update(self, params, X, mass, sums, expert) -> GLMParams:
        """Closed-form minimiser of the surrogate: weighted least squares, and pooled variances.

        mass (S, K); sums (S, K, 2 m).
        """
        K, m, q = params.coef.shape
        first, second = sums[:, :, :m], sums[:, :, m:]
        gram = np.broadcast_to(weighted_grams(X, mass)[:, None], (K, m, q, q))
        fitted = np.einsum("sq,kmq->skm", X, params.coef)
        score = weighted_sums(X, (first - mass[:, :, None] * fitted).reshape(len(X), K * m))
        coef = params.coef + solve_newton(gram, score.reshape(K, m, q))
        mean = np.einsum("sq,kmq->skm", X, coef)
        squares = (second - 2 * mean * first + mass[:, :, None] * mean**2).sum(axis=0)
        total = mass.sum(axis=0)[:, None]
        scale = np.sqrt(np.maximum(squares, 0) / np.maximum(total, 1e-300))
        lowest = expert.min_scale
        return GLMParams(coef, np.where(total > 0, np.maximum(scale, lowest), params.dispersion))

    def features(self, params, X, mass):
        """(L, f) points whose squared distances are about the divergences, for clustering.

        Means over the root of twice the common variance, and logs of standard deviations: for
        equal means the divergence is about the squared difference of the logs.
        """
        size = np.exp(np.average(np.log(params.dispersion), weights=mass, axis=0))
        means = params.coef @ np.linalg.cholesky(_gram(X)) / (np.sqrt(2) * size[:, None])
        return np.concatenate([means.reshape(len(mass), -1), np.log(params.dispersion)], axis=1)

    def targets(self, values, weight, rng):
        """(DRAWS, S, m) of y at the rows of the support, from the experts with these weights."""
        rows, picked = np.arange(len(weight)), np.cumsum(weight, axis=1)
        place = (rng.random((DRAWS, len(weight), 1)) * picked[:, -1:] > picked).sum(axis=2)
        noise = rng.standard_normal((*place.shape, values.mean.shape[2]))
        return values.mean[rows, place] + np.sqrt(values.variance)[place] * noise

    def log_density(self, targets, log_gate, values):
        """(S,) mean over the draws of the mixture's log density at them; log_gate (S, K)."""
        constant = log_gate - 0.5 * np.log(2 * np.pi * values.variance).sum(axis=1)
        each = []
        for y in targets:
            squares = ((y[:, None] - values.mean) ** 2 / values.variance).sum(axis=2)
            each.append(logsumexp(constant - 0.5 * squares, axis=1))
        return np.mean(each, axis=0)

    def average(self, params, weight) -> GLMParams:
        """Weighted means (over the first axis) of coefficients and of variances."""
        coef = np.tensordot(weight, params.coef, 1)
        return GLMParams(coef, np.sqrt(np.tensordot(weight, params.dispersion**2, 1)))


class MultinomialFamily:
    """Softmax regressions of C classes."""

    name = "multinomial"

    def values(self, params, X) -> MultinomialValues:
        L, C, q = params.coef.shape
        log_prob = log_softmax((X @ params.coef.reshape(L * C, q).T).reshape(len(X), L, C))
        prob = np.exp(log_prob)
        return MultinomialValues(prob, (prob * log_prob).sum(axis=2))

    def cost(self, values, reduced, k):
        """(S, L) sum_c p_l log(p_l / p_k)."""
        log_prob = np.log(np.maximum(reduced.prob[:, k], 1e-300))
        return values.negentropy - np.einsum("slc,sc->sl", values.prob, log_prob)

    def sums(self, values, plan):
        """(S, C) plan-weighted class probabilities of one reduced expert."""
        return np.einsum("sl,slc->sc", plan, values.prob)

    def update(self, params, X, mass, sums, expert) -> MultinomialParams:
        """Newton steps up the weighted multinomial logit with the probabilities as targets."""
        ridge = expert.intercept_curvature
        coef = [
            soft_logit(X, sums[:, k], own, ridge, INNER_STEPS) if mass[:, k].sum() > 0 else own
            for k, own in enumerate(params.coef)
        ]
        return MultinomialParams(np.array(coef))

    def features(self, params, X, mass):
        """(L, f) logits in coordinates in which squared distances are means over the support."""
        return (params.coef @ np.linalg.cholesky(_gram(X))).reshape(len(mass), -1)

    def targets(self, values, weight, rng):
        """(S, C) probabilities of the classes: no draws are needed."""
        return np.einsum("sl,slc->sc", weight, values.prob)

    def log_density(self, targets, log_gate, values):
        """(S,) expected log probability of the class under the targets; log_gate (S, K)."""
        prob = np.einsum("sk,skc->sc", np.exp(log_gate), values.prob)
        return (targets * np.log(np.maximum(prob, 1e-300))).sum(axis=1)

    def average(self, params, weight) -> MultinomialParams:
        return MultinomialParams(np.tensordot(weight, params.coef, 1))


FAMILIES: dict[str, Any] = {
    family.name: family for family in (GaussianFamily(), MultinomialFamily())
}


def _gram(X):
    gram = X.T @ X / len(X)
    return gram + 1e-10 * np.trace(gram) / len(gram) * np.eye(len(gram))
