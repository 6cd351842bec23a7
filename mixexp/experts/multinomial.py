"""Multinomial expert: softmax regression, for classification."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy.sparse import issparse
from sklearn.base import clone

from .._component import EXPERTS, register
from ..kernels import multinomial, small
from ..kernels.designs import linear, weighted_grams, weighted_sums
from ..kernels.reference import class_pairs, log_softmax
from ..kernels.rows import RowUnit
from ..penalties import is_sparse, ridge, vanishing_ridge
from ..scaling import rescale_linear
from ..solvers import (
    centred,
    centred_on_support,
    penalised_softmax_step,
    softmax_newton_step,
)
from .base import Expert

WEIGHTLESS = 1e-6  # share of the weight below which a class does not count as one


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
    penalty : Penalty or None
        Penalty on the centred slopes of the standardised columns.
    ridge : float or None, default=None
        As for `SoftmaxGate`: keeps the coefficients finite where an expert separates its
        classes perfectly, and costs nothing elsewhere. It covers the intercepts as well,
        since an expert may see one class only. None: as in the gate; 1e-7 where a class has
        less than a millionth of the weight, whose crumbs of likelihood shall not buy steep slopes.
    """

    kernel = "multinomial"
    classifies = True
    discrete = True
    centres_slopes = True

    def __init__(self, penalty=None, ridge=None):
        self.penalty = penalty
        self.ridge = ridge

    def for_target(self, target, n_distinct):
        if self.ridge is not None:
            return self
        counts = target.counts
        weightless = counts[counts > 0].min() < WEIGHTLESS * counts.sum()
        return clone(self).set_params(ridge=vanishing_ridge(1 if weightless else n_distinct))

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
        if issparse(X):
            rows = np.arange(X.shape[0])
            return self.log_class_prob(params, X)[rows, :, y[:, 0].astype(int)]
        return multinomial.class_log_density()(X, *_codes_and_coefficients(params, y)).T

    def statistics(self, params, X, y, resp, weight, offset, trials):
        sums = _sparse_sums if issparse(X) else _dense_sums
        score, pairs, mass = sums(self, params, X, y, resp)
        return MultinomialStatistics(score, pairs, mass, np.asarray(weight.sum()))

    def row_scores(self, params, X, y, resp, offset, trials):
        difference = -np.exp(self.log_class_prob(params, X))
        difference[np.arange(len(y)), :, y[:, 0].astype(int)] += 1
        return (resp[:, :, None] * difference).reshape(len(y), -1)

    def layout(self, params):
        return np.arange(params.coef.size).reshape(params.coef.shape)

    def row_unit(self, params, X, y, offset, trials) -> RowUnit:
        """Derivatives by the C logits of the classes."""
        log_prob = self.log_class_prob(params, X)
        prob = np.exp(log_prob)
        n, _, C = prob.shape
        codes = y[:, 0].astype(int)
        score = np.eye(C)[codes][:, None, :] - prob
        spread = np.einsum("nkc,nkd->cdnk", prob, prob)
        spread[np.arange(C), np.arange(C)] -= np.moveaxis(prob, 2, 0)
        return RowUnit(log_prob[np.arange(n), :, codes], np.moveaxis(score, 2, 0), spread)

    def contrasts(self, params, names, reference):
        K, C, q = params.coef.shape
        terms = ["(intercept)", *map(str, names)]
        place = np.arange(K * C * q).reshape(K, C, q)
        forms = np.zeros((K * (C - 1) * q, K * C * q))
        labels: list[str] = []
        for k in range(K):
            for c in range(1, C):
                for a in range(q):
                    forms[len(labels), place[k, c, a]] = 1
                    forms[len(labels), place[k, 0, a]] = -1
                    labels.append(f"expert {k}, class {c} vs 0: {terms[a]}")
        return labels, forms

    def m_step(self, params, stats):
        strength = self._strengths(params.coef.shape[-1])
        weight = stats.weight[..., None, None, None]
        if self.sparse:
            pairs, score = stats.pairs / weight[..., None], stats.score / weight
            return MultinomialParams(
                penalised_softmax_step(pairs, score, params.coef, self.penalty, strength)
            )
        score = stats.score - weight * strength * params.coef
        ridge = np.broadcast_to(
            (weight * strength)[..., 0, :], (*score.shape[:-2], score.shape[-1])
        )
        return MultinomialParams(params.coef + softmax_newton_step(stats.pairs, score, ridge))

    def gradient(self, params, stats):
        strength = self._strengths(params.coef.shape[-1])
        score = stats.score / stats.weight[..., None, None, None] - strength * params.coef
        if self.sparse:
            slopes = params.coef[..., 1:]
            score[..., 1:] = self.penalty.subgradient(slopes, score[..., 1:], centred=True)
        return score.reshape(*score.shape[:-3], -1)

    def penalty_value(self, params):
        strength = self._strengths(params.coef.shape[-1])
        value = 0.5 * (strength * params.coef**2).sum(axis=(-3, -2, -1))
        if self.sparse:
            value = value + self.penalty.value(params.coef[..., 1:]).sum(axis=-1)
        return value

    def pack(self, params):
        return params.coef.reshape(*params.coef.shape[:-3], -1)

    def unpack(self, vector, params):
        coef = vector.reshape(*vector.shape[:-1], *params.coef.shape[-3:])
        return MultinomialParams(centred_on_support(coef) if self.sparse else centred(coef))

    def n_free(self, params):
        """One less than the classes for every column; of penalised slopes the non-zero ones."""
        K, C, q = params.coef.shape
        if not self.sparse:
            return K * (C - 1) * q
        nonzero = np.count_nonzero(params.coef[:, :, 1:], axis=1)
        return K * (C - 1) + int(np.maximum(nonzero - 1, 0).sum())

    def slopes(self, params):
        K, C, q = params.coef.shape
        return self.n_free(params) - K * (C - 1), K * (C - 1) * (q - 1)

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

    @property
    def compiled_m_step(self):  # type: ignore[override]
        return not self.sparse and getattr(self.penalty, "weights", None) is None

    @property
    def sparse(self):  # type: ignore[override]
        return is_sparse(self.penalty)

    def _strengths(self, q):
        """(q,) strengths of the ridges, the penalty's own included where it is one."""
        return ridge(self.penalty, q, self.intercept_curvature, self.intercept_curvature)

    @property
    def intercept_curvature(self):
        """Ridge strength of an intercept, per unit weight."""
        return 0.0 if self.ridge is None else float(self.ridge)

    @property
    def slope_curvature(self):
        """Ridge strength of a slope where all columns have the same, per unit weight."""
        return float(self._strengths(2)[1])


def _codes_and_coefficients(params, y):
    """What the compiled functions take: y (n,), coef (K C, q) and C. They check no bounds."""
    K, C, q = params.coef.shape
    if y.max(initial=0) >= C:
        raise ValueError(f"class code {y.max():g} for experts of {C} classes")
    return y[:, 0], np.array(params.coef, order="C").reshape(K * C, q), C


def _dense_sums(expert, params, X, y, resp):
    """score, pairs and mass of `MultinomialStatistics`."""
    K, C, q = params.coef.shape
    codes, coef, _ = _codes_and_coefficients(params, y)
    weights = np.array(resp.T, order="C")
    score, pairs, mass = multinomial.class_statistics()(X, codes, weights, coef, C)
    return score.reshape(K, C, q), small.unpack(pairs[None], q).reshape(K, -1, q, q), mass


def _sparse_sums(expert, params, X, y, resp):
    prob = np.exp(expert.log_class_prob(params, X))
    n, K, C = prob.shape
    c, d = class_pairs(C)
    q = X.shape[1]
    target = np.zeros((n, C))
    target[np.arange(n), y[:, 0].astype(int)] = 1
    score = weighted_sums(X, (resp[:, :, None] * (target[:, None, :] - prob)).reshape(n, -1))
    products = (resp[:, :, None] * prob[:, :, c] * prob[:, :, d]).reshape(n, -1)
    pairs = weighted_grams(X, products) if len(c) else np.zeros((0, q, q))
    return score.reshape(K, C, q), pairs.reshape(K, len(c), q, q), resp.sum(axis=0)
