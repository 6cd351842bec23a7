"""Multinomial expert: softmax regression, for classification."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from .._component import EXPERTS, register
from ..kernels.designs import linear, weighted_grams, weighted_sums
from ..kernels.reference import class_pairs, log_softmax
from ..penalties import curvature, strengths
from ..scaling import rescale_linear
from ..solvers import centred, softmax_newton_step
from .base import Expert


class MultinomialParams(NamedTuple):
    """coef (K, C, q): intercept first, centred over the C classes, on standardised columns."""

    coef: np.ndarray


class MultinomialStatistics(NamedTuple):
    """score (K, C, q); pairs (K, P, q, q) over the pairs of classes; mass (K,); weight ()."""

    score: np.ndarray
    pairs: np.ndarray
    mass: np.ndarray
    weight: np.ndarray


@register(EXPERTS, "multinomial")
class MultinomialExpert(Expert):
    """P(y = c | x) proportional to exp(a_kc + b_kc' x) inside expert k.

    Coefficients are centred over the classes.

    Parameters
    ----------
    penalty : L2 or None
        Penalty on the centred slopes of the standardised columns.
    ridge : float, default=1e-9
        As for `SoftmaxGate`: keeps the coefficients finite where an expert separates its
        classes perfectly, and costs nothing elsewhere. It covers the intercepts as well,
        since an expert may see one class only.
    """

    classifies = True
    discrete = True

    def __init__(self, penalty=None, ridge=1e-9):
        self.penalty = penalty
        self.ridge = ridge

    def check_target(self, y, trials=None):
        if np.any(y != np.floor(y)) or y.min() < 0:
            raise ValueError("MultinomialExpert needs class codes 0..C-1; use MoEClassifier.")

    def initial(self, K, q, y, weight, offset, trials, n_classes=0):
        counts = np.bincount(y[:, 0].astype(int), weights=weight, minlength=n_classes)
        coef = np.zeros((K, len(counts), q))
        coef[:, :, 0] = np.log(np.maximum(counts, 1e-8 * counts.sum()))
        return MultinomialParams(centred(coef))

    def log_class_prob(self, params, X):
        """(n, K, C) log class probabilities."""
        K, C, q = params.coef.shape
        return log_softmax(linear(X, params.coef.reshape(K * C, q)).reshape(-1, K, C))

    def log_density(self, params, X, y, offset, trials):
        rows = np.arange(X.shape[0])
        return self.log_class_prob(params, X)[rows, :, y[:, 0].astype(int)]

    def statistics(self, params, X, y, resp, weight, offset, trials):
        prob = np.exp(self.log_class_prob(params, X))
        n, K, C = prob.shape
        c, d = class_pairs(C)
        q = X.shape[1]
        target = np.zeros((n, C))
        target[np.arange(n), y[:, 0].astype(int)] = 1
        score = weighted_sums(X, (resp[:, :, None] * (target[:, None, :] - prob)).reshape(n, -1))
        products = (resp[:, :, None] * prob[:, :, c] * prob[:, :, d]).reshape(n, -1)
        pairs = weighted_grams(X, products) if len(c) else np.zeros((0, q, q))
        return MultinomialStatistics(
            score.reshape(K, C, q),
            pairs.reshape(K, len(c), q, q),
            resp.sum(axis=0),
            np.asarray(weight.sum()),
        )

    def m_step(self, params, stats):
        strength = self._curvature(params.coef.shape[-1])
        weight = stats.weight[..., None, None, None]
        score = stats.score - weight * strength * params.coef
        ridge = np.broadcast_to(
            (weight * strength)[..., 0, :], (*score.shape[:-2], score.shape[-1])
        )
        return MultinomialParams(params.coef + softmax_newton_step(stats.pairs, score, ridge))

    def gradient(self, params, stats):
        strength = self._curvature(params.coef.shape[-1])
        score = stats.score / stats.weight[..., None, None, None] - strength * params.coef
        return score.reshape(*score.shape[:-3], -1)

    def penalty_value(self, params):
        strength = self._curvature(params.coef.shape[-1])
        return 0.5 * (strength * params.coef**2).sum(axis=(-3, -2, -1))

    def pack(self, params):
        return params.coef.reshape(*params.coef.shape[:-3], -1)

    def unpack(self, vector, params):
        return MultinomialParams(
            centred(vector.reshape(*vector.shape[:-1], *params.coef.shape[-3:]))
        )

    def n_free(self, params):
        K, C, q = params.coef.shape
        return K * (C - 1) * q

    def shift(self, stats, params, step):
        c, d = class_pairs(step.coef.shape[1])
        moved = np.einsum("kpab,kpb->kpa", stats.pairs, step.coef[:, c] - step.coef[:, d])
        score = stats.score.copy()
        for pair, (first, second) in enumerate(zip(c, d, strict=True)):
            score[:, first] -= moved[:, pair]
            score[:, second] += moved[:, pair]
        return stats._replace(score=score)

    def rescale(self, params, columns, old, new):
        return MultinomialParams(rescale_linear(params.coef, columns, old, new))

    def bounded(self, params):
        return np.zeros(params.coef.shape[:-2], dtype=bool)

    def mean(self, params, X, offset, trials):
        return np.exp(self.log_class_prob(params, X))

    def sample(self, params, X, labels, offset, trials, rng):
        prob = self.mean(params, X, offset, trials)[np.arange(len(labels)), labels]
        uniform = rng.random((len(labels), 1))
        codes = (uniform > np.cumsum(prob, axis=1)[:, :-1]).sum(axis=1)
        return codes[:, None].astype(float)

    def _curvature(self, q):
        return strengths(q, curvature(self.penalty) + self.ridge, self.ridge)
