"""Softmax gate: linear logits in the gate's columns; and its special case without columns."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from .._component import GATES, register
from ..kernels.designs import linear, weighted_grams, weighted_sums
from ..kernels.reference import class_pairs, log_softmax
from ..penalties import curvature, strengths
from ..scaling import rescale_linear
from ..solvers import centred, softmax_newton_step
from .base import Gate


class SoftmaxParams(NamedTuple):
    """coef (K, q): intercept first, centred over the classes, on standardised columns."""

    coef: np.ndarray


class SoftmaxStatistics(NamedTuple):
    """Local quadratic model of the gate's share of the surrogate.

    score (K, q) = sum w (r - pi) x; pairs (P, q, q) = sum w pi_k pi_l x x' for k < l;
    weight () = sum w.
    """

    score: np.ndarray
    pairs: np.ndarray
    weight: np.ndarray


@register(GATES, "softmax")
class SoftmaxGate(Gate):
    """pi_k(x) proportional to exp(a_k + b_k' x) over the gate's columns.

    The coefficients are identified by centring over the classes (sum_k = 0); a difference of
    two classes is the log odds of one against the other (Jacobs, Jordan, Nowlan and Hinton,
    1991, Neural Computation 3, 79-87).

    Parameters
    ----------
    penalty : L2 or None
        Penalty on the centred slopes of the standardised columns.
    ridge : float, default=1e-10
        Strength of a ridge so small that it only matters where the gate separates the data
        perfectly and the slopes would grow without bound: there it keeps them finite. It is
        per unit weight, as penalties are, and costs less than 1e-4 of log-likelihood elsewhere.
    """

    fused = True
    compiled_m_step = True

    def __init__(self, penalty=None, ridge=1e-10):
        self.penalty = penalty
        self.ridge = ridge

    def initial(self, K, q):
        return SoftmaxParams(np.zeros((K, q)))

    def log_prob(self, params, X):
        return log_softmax(linear(X, params.coef))

    def statistics(self, params, X, resp, weight):
        prob = np.exp(self.log_prob(params, X))
        k, l = class_pairs(prob.shape[1])
        q = X.shape[1]
        pairs = (
            weighted_grams(X, weight[:, None] * prob[:, k] * prob[:, l])
            if len(k)
            else np.zeros((0, q, q))
        )
        score = weighted_sums(X, resp - weight[:, None] * prob)
        return SoftmaxStatistics(score, pairs, np.asarray(weight.sum()))

    def m_step(self, params, stats):
        strength = self._curvature(params.coef.shape[-1])
        weight = stats.weight[..., None, None]
        score = stats.score - weight * strength * params.coef
        step = softmax_newton_step(stats.pairs, score, stats.weight[..., None] * strength)
        return SoftmaxParams(params.coef + step)

    def gradient(self, params, stats):
        strength = self._curvature(params.coef.shape[-1])
        score = stats.score / stats.weight[..., None, None] - strength * params.coef
        return _flat(score)

    def penalty_value(self, params):
        slopes = centred(params.coef)[..., 1:]
        return (0.5 * self.slope_curvature) * np.add.reduce(slopes * slopes, axis=(-2, -1))

    def pack(self, params):
        return _flat(params.coef)

    def unpack(self, vector, params):
        shape = params.coef.shape[-2:]
        return SoftmaxParams(centred(vector.reshape(*vector.shape[:-1], *shape)))

    def n_free(self, params):
        K, q = params.coef.shape
        return (K - 1) * q

    def shift(self, stats, step):
        delta = step.coef
        k, l = class_pairs(delta.shape[0])
        moved = np.einsum("pab,pb->pa", stats.pairs, delta[k] - delta[l])
        score = stats.score.copy()
        np.subtract.at(score, k, moved)
        np.add.at(score, l, moved)
        return stats._replace(score=score)

    def split(self, params, k, share):
        added = params.coef[k : k + 1].copy()
        added[:, 0] += np.log(share)
        coef = np.concatenate([params.coef, added])
        coef[k, 0] += np.log1p(-share)
        return SoftmaxParams(centred(coef))

    def flatten(self, params, share):
        return SoftmaxParams(params.coef * share)

    def rescale(self, params, columns, old, new):
        return SoftmaxParams(rescale_linear(params.coef, columns, old, new))

    def _curvature(self, q):
        return strengths(q, self.slope_curvature)

    @property
    def slope_curvature(self):
        """Ridge strength of a slope, per unit weight."""
        return curvature(self.penalty) + self.ridge


@register(GATES, "constant")
class ConstantGate(SoftmaxGate):
    """pi_k: mixing proportions that do not depend on x; the M-step is exact."""

    uses_columns = False
    compiled_m_step = False

    def __init__(self):
        super().__init__()

    def m_step(self, params, stats):
        total = stats.weight[..., None]
        share = np.exp(log_softmax(params.coef[..., 0])) * total + stats.score[..., 0]
        # An empty class keeps a probability that no row can notice.
        share = np.maximum(share, 1e-12 * total)
        return SoftmaxParams(centred(np.log(share)[..., None]))

    def penalty_value(self, params):
        return np.zeros(params.coef.shape[:-2])


def _flat(coef):
    return coef.reshape(*coef.shape[:-2], -1)
