"""Softmax gate: linear logits in the gate's columns; and its special case without columns."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from sklearn.base import clone

from .._component import GATES, register
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
from .base import Gate
from .transform import ColumnTransform, check_temperature, check_transform

NOT_ESTIMATED = (
    "A temperature is a setting: with linear scores (a, b, tau) and (c a, c b, c tau) are the same "
    "gate for every c > 0, so that the likelihood does not depend on it."
)


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
    """pi_k(x) proportional to exp((a_k + b_k' M(x)) / tau) over the gate's columns.

    By default tau = 1 and M(x) = x. The coefficients are identified by centring over the classes
    (sum_k = 0); a difference of two classes over tau is the log odds of one against the other
    (Jacobs, Jordan, Nowlan and Hinton, 1991, Neural Computation 3, 79-87).

    Parameters
    ----------
    penalty : Penalty or None
        Penalty on the centred slopes of the standardised columns: `L1`, `L2`, `MCP`, ...
    ridge : float or None, default=None
        Strength of a ridge so small that it only matters where the gate separates the data
        perfectly and the slopes would grow without bound: there it keeps them finite, at the
        cost of about 0.05 of log-likelihood. It is per unit weight, as penalties are. None: what
        the number n of distinct rows suggests, ``(15 n)^-3`` between 1e-16 and 1e-7.
    temperature : float, default=1.0
        tau. It divides the scores and is not estimated: scores that are linear take up any
        tau (Nguyen, Akbarian and Ho, 2024, ICML, arXiv:2401.13875). It only matters under a
        penalty, which sees a and b: a small tau then allows a sharp gate at small slopes. What
        `inference` reports are log odds, (b_k - b_l) / tau.
    transform : {"tanh", "sigmoid"}, callable or None, default=None
        M, a function of the standardised columns (the modified softmax gate). A bounded M bounds
        the odds far from the rows. A callable takes and returns an array (n, p); a model with one
        is pickled, but not saved to a file of parameters. The attributes ``gate_centre_`` and
        ``gate_scale_`` are those of the columns before M.
    """

    centres_slopes = True
    conditional = True

    def __init__(self, penalty=None, ridge=None, temperature=1.0, transform=None):
        self.penalty = penalty
        self.ridge = ridge
        self.temperature = temperature
        self.transform = transform

    def for_rows(self, n_distinct):
        check_temperature(self.temperature, type(self).__name__, NOT_ESTIMATED)
        check_transform(self.transform, type(self).__name__)
        if self.ridge is not None:
            return self
        return clone(self).set_params(ridge=vanishing_ridge(n_distinct))

    def for_columns(self, X, columns, weight, K):
        if self.transform is None or isinstance(self.transform, ColumnTransform):
            return self
        fitted = ColumnTransform.of_rows(self.transform, X, columns, weight)
        return clone(self).set_params(transform=fitted)

    @property
    def own_design(self):  # type: ignore[override]
        return self.transform is not None

    def design(self, X, columns, scaling):
        if self.transform is None:
            return super().design(X, columns, scaling)
        return self.transform.design(X, columns)

    @property
    def kernel(self):  # type: ignore[override]
        return None if self.own_design or self.temperature != 1 else "softmax"

    @property
    def compiled_m_step(self):  # type: ignore[override]
        plain = not self.sparse and getattr(self.penalty, "weights", None) is None
        return plain and self.kernel is not None

    @property
    def sparse(self):  # type: ignore[override]
        return is_sparse(self.penalty)

    def initial(self, K, q):
        return SoftmaxParams(np.zeros((K, q)))

    def log_prob(self, params, X):
        return log_softmax(self._logits(params, X))

    def _logits(self, params, X):
        return linear(X, params.coef) / self.temperature

    def statistics(self, params, X, resp, weight, log_prior=None):
        logits = self._logits(params, X)
        # given the prior the classes of a row are those of logits shifted by its logarithm
        prob = np.exp(log_softmax(logits if log_prior is None else logits + log_prior))
        k, l = class_pairs(prob.shape[1])
        q = X.shape[1]
        pairs = (
            weighted_grams(X, weight[:, None] * prob[:, k] * prob[:, l])
            if len(k)
            else np.zeros((0, q, q))
        )
        score = weighted_sums(X, resp - weight[:, None] * prob)
        tau = self.temperature
        return SoftmaxStatistics(score / tau, pairs / tau**2, np.asarray(weight.sum()))

    def separation(self, params, stats):
        k, l = class_pairs(len(params.coef))
        slopes = (params.coef[k, 1:] - params.coef[l, 1:]) / self.temperature
        return slopes, stats.pairs * self.temperature**2

    def row_scores(self, params, X, resp, weight):
        return (resp - weight[:, None] * np.exp(self.log_prob(params, X))) / self.temperature

    def layout(self, params):
        K, q = params.coef.shape
        return np.broadcast_to(np.arange(K * q).reshape(K, q), (K, K, q))

    def row_unit(self, params, X) -> RowUnit:
        """Derivatives of log pi_k by the K logits."""
        log_prob = self.log_prob(params, X)
        prob = np.exp(log_prob)
        K = prob.shape[1]
        score = np.eye(K)[:, None, :] - prob.T[:, :, None]
        spread = np.einsum("nl,nm->lmn", prob, prob)
        spread[np.arange(K), np.arange(K)] -= prob.T
        spread = spread / self.temperature**2
        hessian = np.broadcast_to(spread[..., None], (K, K, len(prob), K))
        return RowUnit(log_prob, score / self.temperature, hessian)

    def contrasts(self, params, names, reference):
        K, q = params.coef.shape
        terms = ["(intercept)", *map(str, names)][:q]
        others = [k for k in range(K) if k != reference]
        forms = np.zeros((K - 1, q, K, q))
        for i, k in enumerate(others):
            forms[i, np.arange(q), k, np.arange(q)] = 1 / self.temperature
            forms[i, np.arange(q), reference, np.arange(q)] = -1 / self.temperature
        labels = [f"gate {k} vs {reference}: {term}" for k in others for term in terms]
        return labels, forms.reshape(len(labels), K * q)

    def m_step(self, params, stats):
        strength = self._strengths(params.coef.shape[-1])
        weight = stats.weight[..., None, None]
        if self.sparse:
            pairs, score = stats.pairs / weight[..., None], stats.score / weight
            return SoftmaxParams(
                penalised_softmax_step(pairs, score, params.coef, self.penalty, strength)
            )
        score = stats.score - weight * strength * params.coef
        step = softmax_newton_step(stats.pairs, score, stats.weight[..., None] * strength)
        return SoftmaxParams(params.coef + step)

    def gradient(self, params, stats):
        strength = self._strengths(params.coef.shape[-1])
        score = stats.score / stats.weight[..., None, None] - strength * params.coef
        if self.sparse and params.coef.shape[-2] > 1:
            slopes = params.coef[..., 1:]
            score[..., 1:] = self.penalty.subgradient(slopes, score[..., 1:], centred=True)
        return _flat(score)

    def penalty_value(self, params):
        slopes = (params.coef if self.sparse else centred(params.coef))[..., 1:]
        strength = self._strengths(params.coef.shape[-1])[1:]
        value = 0.5 * np.add.reduce(strength * slopes * slopes, axis=(-2, -1))
        return value + self.penalty.value(slopes) if self.sparse else value

    def pack(self, params):
        return _flat(params.coef)

    def unpack(self, vector, params):
        coef = vector.reshape(*vector.shape[:-1], *params.coef.shape[-2:])
        return SoftmaxParams(centred_on_support(coef) if self.sparse else centred(coef))

    def n_free(self, params):
        """One less than the classes for every column; of penalised slopes the non-zero ones."""
        K, q = params.coef.shape
        if not self.sparse:
            return (K - 1) * q
        nonzero = np.count_nonzero(params.coef[:, 1:], axis=0)
        return K - 1 + int(np.maximum(nonzero - 1, 0).sum())

    def slopes(self, params):
        K, q = params.coef.shape
        return self.n_free(params) - (K - 1), (K - 1) * (q - 1)

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
        added[:, 0] += self.temperature * np.log(share)
        coef = np.concatenate([params.coef, added])
        coef[k, 0] += self.temperature * np.log1p(-share)
        return SoftmaxParams(centred(coef))

    def flatten(self, params, share):
        return SoftmaxParams(params.coef * share)

    def rescale(self, params, columns, old, new):
        if self.own_design:  # coefficients of transformed columns, whatever the standardisation
            return params
        return SoftmaxParams(rescale_linear(params.coef, columns, old, new))

    def display(self, params, names):
        shown = {"gate_coef_": params.coef[:, 1:], "gate_intercept_": params.coef[:, 0]}
        if self.own_design:
            shown |= {"gate_centre_": self.transform.centre, "gate_scale_": self.transform.scale}
        return shown

    def table(self, params, names):
        title = "Gate (logits, centred over the experts)"
        if self.own_design or self.temperature != 1:
            title = f"Gate (scores, centred over the experts, temperature {self.temperature:g})"
        rows = [str(name) for name in names]
        if self.own_design:
            function = self.transform.function
            shown = function if isinstance(function, str) else "M"
            rows = [f"{shown}({name})" for name in rows]
        return title, ["(intercept)", *rows], params.coef

    def _strengths(self, q):
        """(q,) strengths of the ridges, the penalty's own included where it is one."""
        vanishing = 0.0 if self.ridge is None else self.ridge / self.temperature**2
        return ridge(self.penalty, q, vanishing)

    @property
    def slope_curvature(self):
        """Ridge strength of a slope where all columns have the same, per unit weight."""
        return float(self._strengths(2)[1])


@register(GATES, "constant")
class ConstantGate(SoftmaxGate):
    """pi_k: mixing proportions that do not depend on x; the M-step is exact."""

    uses_columns = False
    closed_form = True

    def __init__(self):
        super().__init__()

    def for_rows(self, n_distinct):
        return self

    def for_prior(self):
        """A softmax gate without columns: shares given a prior have no closed form."""
        return SoftmaxGate()

    def for_truncation(self):
        return SoftmaxGate()

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
