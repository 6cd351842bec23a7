"""Gates that are the softmax of any scores, one for every class and a function of its numbers.

pi_k(x) = softmax_k(s_k(x)), with s_k a smooth function of x and of the class's own parameters. A
gate says its scores, their derivatives by these parameters and sums of their second derivatives;
from these follow, here, the pass, a Newton step, scores of rows and the information.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from scipy import linalg, sparse
from sklearn.base import clone

from ..kernels.reference import log_softmax
from ..penalties import is_sparse, ridge, vanishing_ridge
from ..scaling import rescale_linear
from .base import Gate

LARGEST_FACTOR = 1.0  # of the logarithm of a scale in one M-step
SHARPEST = float(np.log(1e6))  # bound on the logarithm of an estimated scale or temperature
SMALLEST = 1e-10  # of a curvature or a variance, relative to the largest
LONGEST = 1e100  # of a step along one direction before it is shortened; its square is a number
ENTRIES = 2_000_000  # of the derivatives of a part of a block, (rows, K, D)


class ScoreGateParams(NamedTuple):
    """The D = q + E numbers of every class.

    coef (K, q): an intercept and one number for every column; extra (K, E): what else a score has.
    """

    coef: np.ndarray
    extra: np.ndarray


class ScoreGateStatistics(NamedTuple):
    """Local quadratic model of the gate's share of the surrogate, in the order of `pack`.

    score (K D,); exact (K D, K D) minus the second derivative; convex (K D, K D) its
    Gauss-Newton part, without the second derivatives of the scores; moment (q, q) = sum w x x';
    weight () = sum w.
    """

    score: np.ndarray
    exact: np.ndarray
    convex: np.ndarray
    moment: np.ndarray
    weight: np.ndarray


class ScoreDerivatives(NamedTuple):
    """first (n, K, D): of every score by its class's numbers; ``bend(u)`` (K, D, D): sums over the
    rows of the second derivatives, weighted by u (n, K)."""

    first: np.ndarray
    bend: Callable[[np.ndarray], np.ndarray]


class ScoreGate(Gate):
    """Base of gates with scores of their own; its parameters are `ScoreGateParams`.

    A gate defines `scores`, `derivatives` and `n_extra`. Numbers that a common shift of leaves the
    probabilities alone are named in `centred`, those that all classes share in `tied`.
    """

    own_derivatives = True
    conditional = True
    has_predictors = True  # False where the numbers of columns are no slopes
    params_class: type = ScoreGateParams
    largest_step = 4.0  # of a class's number in one M-step, on standardised columns
    penalty: Any = None
    ridge: float | None = None

    @property
    @abstractmethod
    def n_extra(self) -> int:
        """How many numbers a class has besides one for every column and an intercept."""

    @abstractmethod
    def scores(self, params, X):
        """(n, K) scores of a dense design."""

    @abstractmethod
    def derivatives(self, params, X) -> ScoreDerivatives:
        """Derivatives of the scores by their classes' numbers, intercept and columns first."""

    def centred(self, q) -> list[int]:
        """Places among a class's numbers whose mean over the classes is zero."""
        return []

    def tied(self, q) -> list[int]:
        """Places among a class's numbers that are the same in all classes: logarithms of scales."""
        return []

    # --- settings ---------------------------------------------------------------------------

    def for_rows(self, n_distinct):
        name = type(self).__name__
        if is_sparse(self.penalty):
            raise ValueError(
                f"{name} takes L2 penalties alone; got {self.penalty!r}: a score that is not "
                "linear in the columns has no exact zeros to certify. Use "
                "gate=SoftmaxGate(penalty=...), or L2(...) here."
            )
        if self.ridge is not None:
            return self
        return clone(self).set_params(ridge=vanishing_ridge(n_distinct))

    def _strengths(self, q):
        """(D,) strengths of the ridges, per unit weight."""
        vanishing = 0.0 if self.ridge is None else self.ridge
        return np.concatenate([ridge(self.penalty, q, vanishing), np.zeros(self.n_extra)])

    def _with(self, **settings):
        return type(self)(**{**self.get_params(deep=False), **settings})

    def adopted(self, params):
        """Logarithms of scales that the other gate does not have are zero."""
        more = np.zeros((len(params.coef), max(0, self.n_extra - params.extra.shape[1])))
        extra = np.concatenate([params.extra[:, : self.n_extra], more], axis=1)
        return params._replace(extra=extra)

    # --- probabilities ----------------------------------------------------------------------

    def initial(self, K, q):
        return self.params_class(np.zeros((K, q)), np.zeros((K, self.n_extra)))

    def log_prob(self, params, X):
        return log_softmax(np.concatenate([self.scores(params, part) for _, part in dense(X)]))

    # --- the M-step: a step of Newton's that climbs everywhere ---------------------------------

    def statistics(self, params, X, resp, weight, log_prior=None):
        K, D = len(params.coef), params.coef.shape[1] + self.n_extra
        score, convex, bend = np.zeros((K, D)), np.zeros((K * D, K * D)), np.zeros((K, D, D))
        moment = np.zeros((params.coef.shape[1],) * 2)
        step = max(64, ENTRIES // (K * D))
        for rows, part in dense(X, step):
            value = self.scores(params, part)
            prob = np.exp(log_softmax(value if log_prior is None else value + log_prior[rows]))
            own, w = self.derivatives(params, part), weight[rows]
            excess = resp[rows] - w[:, None] * prob
            score += np.einsum("nk,nkd->kd", excess, own.first)
            bend += own.bend(excess)
            convex += _spread(own.first, prob, w)
            moment += (part * w[:, None]).T @ part
        exact = convex - linalg.block_diag(*bend)
        return ScoreGateStatistics(score.ravel(), exact, convex, moment, np.asarray(weight.sum()))

    def m_step(self, params, stats):
        vector, weight = self.pack(params), stats.weight[..., None]
        K, q = params.coef.shape[-2:]
        strengths = np.tile(self._strengths(q), K)
        metric = self._metric(stats, q)
        own = linalg.block_diag(_whitening(metric), np.eye(self.n_extra))
        basis = self._projector(K, q) @ np.kron(np.eye(K), own)
        gram = basis.T @ (stats.exact + weight[..., None] * np.diag(strengths)) @ basis
        step = climb(gram, (stats.score - weight * strengths * vector) @ basis) @ basis.T
        return self.unpack(vector + self._shortened(step, params, metric), params)

    def _metric(self, stats, q):
        """(q, q) second moments of the design, or ones: in which the numbers of a class are long.

        In the moments' metric steps of predictors do not depend on units or copies of columns.
        """
        if not self.has_predictors:
            return np.eye(q)
        return stats.moment.reshape(-1, q, q).sum(axis=0) / stats.weight.sum()

    def _shortened(self, step, params, metric):
        """The step, no longer than what one quadratic model can say of the scores.

        Predictors that run off to make a threshold may grow by half, whatever their size.
        """
        K, q = params.coef.shape[-2:]
        own = step.reshape(*step.shape[:-1], K, q + self.n_extra)
        longest = np.maximum(self.largest_step, 0.5 * _length(params.coef, metric))
        ratio = (_length(own[..., :q], metric) / longest).max(axis=-1)
        if self.n_extra:
            limits = [
                LARGEST_FACTOR if q + place in self.tied(q) else self.largest_step
                for place in range(self.n_extra)
            ]
            ratio = np.maximum(ratio, (np.abs(own[..., q:]) / limits).max(axis=(-2, -1)))
        return step / np.maximum(1.0, ratio)[..., None]

    def separation(self, params, stats):
        """Every class's own predictor, with the information on it when all others are unknown."""
        K, q = params.coef.shape
        D = q + self.n_extra
        information = np.empty((K, q, q))
        for k in range(K):
            own = k * D + np.arange(q)
            rest = np.delete(np.arange(K * D), own)
            across = stats.convex[np.ix_(own, rest)]
            inside = np.linalg.pinv(stats.convex[np.ix_(rest, rest)], 1e-10, hermitian=True)
            information[k] = stats.convex[np.ix_(own, own)] - across @ inside @ across.T
        return params.coef[:, 1:], information

    def gradient(self, params, stats):
        K, q = params.coef.shape[-2:]
        pull = np.tile(self._strengths(q), K) * self.pack(params)
        return (stats.score / stats.weight[..., None] - pull) @ self._projector(K, q)

    def penalty_value(self, params):
        K, q = params.coef.shape[-2:]
        pull = np.tile(self._strengths(q), K) * self.pack(params) ** 2
        return 0.5 * pull.sum(axis=-1)

    # --- vectors ----------------------------------------------------------------------------

    def pack(self, params):
        both = np.concatenate([params.coef, params.extra], axis=-1)
        return both.reshape(*both.shape[:-2], -1)

    def unpack(self, vector, params):
        K, q = params.coef.shape[-2:]
        return self._unpacked(vector @ self._projector(K, q), K, q)

    def _unpacked(self, vector, K, q):
        both = vector.reshape(*vector.shape[:-1], K, q + self.n_extra)
        extra = both[..., q:].copy()
        for place in self.tied(q):
            extra[..., place - q] = np.clip(extra[..., place - q], -SHARPEST, SHARPEST)
        return self.params_class(both[..., :q], extra)

    def _projector(self, K, q):
        """(K D, K D) projection on centred, tied and free numbers; nothing is free in one class."""
        D = q + self.n_extra
        if K == 1:
            return np.zeros((D, D))
        mean, eye = np.full((K, K), 1 / K), np.eye(K)
        out = np.zeros((K, D, K, D))
        kinds = {**dict.fromkeys(self.centred(q), eye - mean), **dict.fromkeys(self.tied(q), mean)}
        for place in range(D):
            out[:, place, :, place] = kinds.get(place, eye)
        return out.reshape(K * D, K * D)

    def n_free(self, params):
        """All identified numbers; without columns these are the shares alone."""
        K, q = params.coef.shape
        if q == 1:
            return K - 1
        if K == 1:
            return 0
        return K * (q + self.n_extra) - len(self.centred(q)) - (K - 1) * len(self.tied(q))

    def slopes(self, params):
        K, q = params.coef.shape
        return (0, 0) if K == 1 else (K * (q - 1),) * 2

    def shift(self, stats, step):
        return stats._replace(score=stats.score - stats.exact @ self.pack(step))

    def flatten(self, params, share):
        coef = params.coef.copy()
        coef[..., 1:] *= share
        return params._replace(coef=coef)

    def rescale(self, params, columns, old, new):
        return params._replace(coef=rescale_linear(params.coef, columns, old, new))

    # --- inference ----------------------------------------------------------------------------

    def row_derivatives(self, params, X):
        n, K = X.shape[0], len(params.coef)
        prob, first = np.exp(self.log_prob(params, X)), self.derivatives(params, X).first
        out = -np.repeat((prob[:, :, None] * first)[:, None], K, axis=1)
        out[:, np.arange(K), np.arange(K)] += first
        return out.reshape(n, K, -1)

    def surrogate_hessian(self, params, X, resp):
        return -self.statistics(params, X, resp, resp.sum(axis=1)).exact


def dense(X, step=8192):
    """(slice, dense rows) pairs of a design."""
    for start in range(0, X.shape[0], step):
        rows = slice(start, start + step)
        yield rows, X[rows].toarray() if sparse.issparse(X) else X[rows]


def _spread(first, prob, weight):
    """sum_i w_i Cov of the classes' derivatives under pi: (K D, K D)."""
    n, K, D = first.shape
    mean = (prob[:, :, None] * first).reshape(n, K * D)
    out = -(mean * weight[:, None]).T @ mean
    for k in range(K):
        own = slice(k * D, (k + 1) * D)
        out[own, own] += (first[:, k] * (weight * prob[:, k])[:, None]).T @ first[:, k]
    return out


def climb(gram, score):
    """The ascent step |gram|^-1 score, which does not depend on a rotation of the coordinates.

    Nothing moves where there is no curvature. See `solvers.indefinite.newton_step`, whose step does
    not depend on the units of the coordinates.
    """
    values, vectors = np.linalg.eigh(gram)
    size = np.abs(values)
    flat = size <= SMALLEST * size.max(axis=-1, keepdims=True, initial=0.0)
    along = np.einsum("...ab,...a->...b", vectors, score)
    # a saturated gate has a pull but next to no curvature: its step is long, and still a number
    along = along / np.where(flat, np.inf, np.maximum(size, np.abs(along) / LONGEST))
    return np.einsum("...ab,...b->...a", vectors, along)


def _whitening(metric):
    """(q, r) basis of the directions in which the design varies, orthonormal in the metric."""
    values, vectors = np.linalg.eigh(metric)
    kept = values > SMALLEST * values[-1]
    return vectors[:, kept] / np.sqrt(values[kept])


def _length(vectors, metric):
    """(...) lengths of (..., q) in the metric."""
    return np.sqrt(np.einsum("...a,ab,...b->...", vectors, metric, vectors).clip(0.0))
