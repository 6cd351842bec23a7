"""Top-k gate: a softmax over the k classes with the highest scores; the others have none."""

from __future__ import annotations

import numpy as np

from .._component import GATES, register
from ..kernels.designs import linear, weighted_grams, weighted_sums
from ..kernels.links import IMPOSSIBLE
from ..kernels.reference import class_pairs, log_softmax
from .softmax import SoftmaxGate, SoftmaxStatistics

STEEPNESS = (1.0, 4.0, 16.0, 64.0)  # of the continuous gates that lead to the top-k gate


class _RankedGate(SoftmaxGate):
    """Base of softmax gates that treat the classes of a row by the rank of their scores."""

    conditional = False
    own_design = False
    kernel = None
    compiled_m_step = False

    def layout(self, params):
        return None

    def row_unit(self, params, X):
        raise NotImplementedError(f"{type(self).__name__} is not smooth.")

    def _threshold(self, scores):
        """(n,) position of the k-th highest score of a row; k is below the number of classes."""
        at = scores.shape[1] - self.k
        return np.argpartition(scores, at, axis=1)[:, at]


class SteepGate(_RankedGate):
    """The top-k gate made continuous: scores below the k-th highest are lowered further.

    pi_k(x) proportional to exp(s_k - steepness max(0, t - s_k)), t the k-th highest score. 0 is
    the softmax gate, and a steepness without bound the top-k gate. Searches for the latter lead
    through it.
    """

    def __init__(self, k=2, steepness=1.0, penalty=None, ridge=None):
        super().__init__(penalty, ridge)
        self.k = k
        self.steepness = steepness

    def _lowered(self, params, X):
        """(n, K) lowered scores, which of them were lowered, and the thresholds' positions."""
        scores = linear(X, params.coef)
        at = self._threshold(scores)
        top = np.take_along_axis(scores, at[:, None], axis=1)
        low = scores < top
        return np.where(low, scores - self.steepness * (top - scores), scores), low, at

    def log_prob(self, params, X):
        return log_softmax(self._lowered(params, X)[0])

    def statistics(self, params, X, resp, weight):  # type: ignore[override]
        lowered, low, at = self._lowered(params, X)
        prob = np.exp(log_softmax(lowered))
        n, K = prob.shape
        # rows' matrices of the derivatives of lowered scores (first) by scores (second)
        by = np.where(low, 1 + self.steepness, 1.0)[:, :, None] * np.eye(K)
        by[np.arange(n)[:, None], np.arange(K), at[:, None]] -= np.where(low, self.steepness, 0.0)
        change = np.einsum("nk,nkj->nj", resp - weight[:, None] * prob, by)
        mean = np.einsum("nk,nkj->nj", prob, by)
        k, l = class_pairs(K)
        # scores may be shifted, so that the curvature is one of pairs of classes
        curve = mean[:, k] * mean[:, l] - np.einsum("nk,nkp,nkp->np", prob, by[..., k], by[..., l])
        pairs = weighted_grams(X, weight[:, None] * curve)
        return SoftmaxStatistics(weighted_sums(X, change), pairs, np.asarray(weight.sum()))


@register(GATES, "top_k")
class TopKGate(_RankedGate):
    """pi_k(x) is the softmax of a_k + b_k' x over the k classes of the highest scores, else zero.

    Each row hears k experts: the sparse gate of Shazeer et al. (2017), without its noise. Classes
    that tie with the k-th score are active too. With at most k experts it is the softmax gate.

    The active classes of every row stay as they are within an M-step. The likelihood jumps where
    they change. A guard accepts no lower one, so that fits end where a row is about to lose an
    expert that it needs: at a jump (`Status.JUMP`), in general not where the gradient is zero.
    Searches lead there through gates with continuous likelihoods, from the softmax gate on. Since
    the likelihood is not smooth there is no information matrix; bootstraps remain.

    Parameters
    ----------
    k : int, default=2
        Experts of a row, at least 2: with one the likelihood would not depend on small moves of
        the gate at all.
    penalty, ridge
        As of `SoftmaxGate`; without sparse penalties.

    References
    ----------
    Shazeer et al. (2017), "Outrageously large neural networks: the sparsely-gated
    mixture-of-experts layer", ICLR, arXiv:1701.06538. Nguyen, Akbarian, Yan and Ho (2024),
    "Statistical perspective of top-K sparse softmax gating mixture of experts", ICLR,
    arXiv:2309.13850.
    """

    smooth = False
    jumps = True

    def __init__(self, k=2, penalty=None, ridge=None):
        super().__init__(penalty, ridge)
        self.k = k

    def for_rows(self, n_distinct):
        whole = isinstance(self.k, int | np.integer) and not isinstance(self.k, bool)
        if not whole or self.k < 2:
            raise ValueError(
                f"TopKGate needs k >= 2 experts of a row; got k={self.k!r}. For one expert a row "
                "use KMeansGate, or SoftmaxGate, whose probabilities may come close to 0 and 1."
            )
        if self.sparse:
            raise ValueError(
                f"TopKGate takes L2 penalties alone; got {self.penalty!r}. Use "
                "gate=SoftmaxGate(penalty=...) to choose columns."
            )
        return super().for_rows(n_distinct)

    def for_columns(self, X, columns, weight, K):
        return SoftmaxGate(self.penalty, self.ridge) if self.k >= K else self

    def approach(self):
        settings = {"penalty": self.penalty, "ridge": self.ridge}
        steep = [SteepGate(self.k, steepness, **settings) for steepness in STEEPNESS]
        return [SoftmaxGate(**settings), *steep]

    def active(self, params, X):
        """(n, K) bool: the classes that the rows of a design hear."""
        return self._active(linear(X, params.coef))

    def _active(self, scores):
        if self.k >= scores.shape[1]:
            return np.ones(scores.shape, dtype=bool)
        return scores >= np.take_along_axis(scores, self._threshold(scores)[:, None], axis=1)

    def log_prob(self, params, X):
        scores = linear(X, params.coef)
        return log_softmax(np.where(self._active(scores), scores, IMPOSSIBLE))

    def statistics(self, params, X, resp, weight):  # type: ignore[override]
        prob = np.exp(self.log_prob(params, X))
        heard = np.where(prob > 0, resp, 0.0)
        mass = heard.sum(axis=1, keepdims=True)
        k, l = class_pairs(prob.shape[1])
        q = X.shape[1]
        pairs = weighted_grams(X, mass * prob[:, k] * prob[:, l]) if len(k) else np.zeros((0, q, q))
        score = weighted_sums(X, heard - mass * prob)
        return SoftmaxStatistics(score, pairs, np.asarray(weight.sum()))

    def table(self, params, names):
        title = f"Gate (scores of which the {self.k} highest count, centred over the experts)"
        return title, ["(intercept)", *map(str, names)], params.coef
