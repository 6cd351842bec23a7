"""Normalised sigmoid gate: classes open and close by themselves, and the open ones share."""

from __future__ import annotations

import numpy as np
from scipy import special

from .._component import GATES, register
from ..kernels.designs import linear, weighted_grams
from .scores import ScoreDerivatives, ScoreGate, ScoreGateParams


class SigmoidParams(ScoreGateParams):
    """coef (K, q) of the predictors, intercept first; extra (K, 0)."""


@register(GATES, "sigmoid")
class SigmoidGate(ScoreGate):
    """pi_k(x) = s(a_k + b_k' x) / sum_l s(a_l + b_l' x), with the logistic function s.

    The normalised sigmoid gate. A class's score is log s, at most zero: far out on one side of
    every predictor the open classes share the rows equally, where a softmax gate decides for one.
    All K predictors are identified, and none is a reference: adding a constant to all of them
    changes the probabilities, except where every s is so small that it is an exponential. There
    the gate is the softmax gate, which it contains as this limit: where that is best, intercepts
    fall together until rounding stops them, and `inference` finds them undetermined.

    Of two experts every softmax gate is a sigmoid gate exactly, since s(t) + s(-t) = 1.

    Parameters
    ----------
    penalty : L2 or None
        Ridge on the slopes of the standardised columns.
    ridge : float or None, default=None
        As for `SoftmaxGate`.
    normalized : bool, default=True
        Only True: see Notes.

    Raises
    ------
    ValueError
        In ``fit``, for ``normalized=False`` and for penalties other than `L2`.

    Notes
    -----
    Without the sum below, sum_k s(a_k + b_k' x) h_k(x) is a regression function, fitted by least
    squares. Its weights do not add up to one, so that sum_k s_k f_k(y | x) is no density: there is
    no likelihood, no posterior probability of an expert and no EM. Sigmoids that do make a density
    without a common sum are a sequence of decisions, pi_1 = s_1, pi_2 = (1 - s_1) s_2 and so on:
    ``HierarchicalGate(tree=(0, (1, 2)))`` for three experts.

    References
    ----------
    Nguyen, Ho and Rinaldo (2024), "Sigmoid gating is more sample efficient than softmax gating in
    mixture of experts", NeurIPS 37, arXiv:2405.13997.
    """

    n_extra = 0
    params_class = SigmoidParams

    def __init__(self, penalty=None, ridge=None, normalized=True):
        self.penalty = penalty
        self.ridge = ridge
        self.normalized = normalized

    def for_rows(self, n_distinct):
        if self.normalized is not True:
            raise ValueError(
                f"SigmoidGate needs normalized=True; got {self.normalized!r}. Sigmoids that do not "
                "add up to one make a regression function for least squares, not a density of y "
                "given x: there is nothing for EM to maximise. Keep normalized=True, or take "
                "sigmoids that decide one after the other, HierarchicalGate(tree=(0, (1, 2)))."
            )
        return super().for_rows(n_distinct)

    def scores(self, params, X):
        return -np.logaddexp(0.0, -linear(X, params.coef))

    def derivatives(self, params, X):
        shut = special.expit(-linear(X, params.coef))
        bent = -shut * (1 - shut)
        return ScoreDerivatives(
            shut[:, :, None] * X[:, None, :], lambda u: weighted_grams(X, u * bent)
        )

    def split(self, params, k, share):
        """Both halves have the level and the slope of their share at the middle of the columns."""
        coef = np.concatenate([params.coef, params.coef[k : k + 1]])
        open_ = special.expit(params.coef[k, 0])
        for place, part in ((k, 1 - share), (-1, share)):
            coef[place, 0] = special.logit(np.clip(part * open_, 1e-300, 1 - 1e-16))
            coef[place, 1:] *= (1 - open_) / (1 - part * open_)
        return SigmoidParams(coef, np.zeros((len(coef), 0)))

    def contrasts(self, params, names, reference):
        K, q = params.coef.shape
        terms = ["(intercept)", *map(str, names)][:q]
        if K == 1:
            return [], np.zeros((0, q))
        return [f"gate {k}: {term}" for k in range(K) for term in terms], np.eye(K * q)

    def display(self, params, names):
        return {"gate_coef_": params.coef[:, 1:], "gate_intercept_": params.coef[:, 0]}

    def table(self, params, names):
        rows = ["(intercept)", *map(str, names)]
        return "Gate (predictors inside the sigmoids)", rows, params.coef
