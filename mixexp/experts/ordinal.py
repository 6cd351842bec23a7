"""Ordinal expert: cumulative links, for ordered classes."""

from __future__ import annotations

import numpy as np
from sklearn.base import clone

from .._component import EXPERTS, register
from ..kernels.links import LINKS
from ..kernels.ordered import between, log_between
from ..kernels.rows import weighted_score
from ..penalties import ridge, vanishing_ridge
from ..solvers.indefinite import bounded_newton
from .distributional import (
    DistributionalExpert,
    DistributionalParams,
    RowParameter,
    curvature_sums,
)

NARROWEST, WIDEST = np.exp(-12.0), np.exp(7.0)  # gaps between thresholds
FARTHEST = 8.0  # factor by which a gap may shrink or grow in one M-step
FEWEST = 1e-2  # rows of a class; with fewer, leaving it out costs that much log-likelihood


@register(EXPERTS, "ordinal")
class OrdinalExpert(DistributionalExpert):
    """P(y <= c | x) = F(t_kc - b_k' x) inside expert k, with thresholds t_k0 < t_k1 < ...

    For classes 0 < 1 < ... < C - 1, whose order says more than their names: with link "logit" the
    odds of y > c grow by the same factor at every c (proportional odds). One vector of slopes
    serves all classes, where the multinomial expert has C - 1. Given through
    ``MoEClassifier(expert="ordinal")``, which says how labels are ordered.

    ``coef_`` (K, p) are the slopes, ``thresholds_`` (K, C - 1) the thresholds, ``intercept_`` (K,)
    minus the first of them. Inference reports the first threshold and the logarithms of the gaps
    to the next ones, which keep the order; so the thresholds are strictly increasing at every
    point of a fit.

    Parameters
    ----------
    link : {"logit", "probit", "cloglog"}, default="logit"
        F is logistic, normal, or 1 - exp(-exp(.)).
    penalty : L2 or None
        Penalty on the slopes of the standardised columns.
    ridge : float or None, default=None
        As for `MultinomialExpert`: keeps slopes finite where an expert separates its classes.
    n_classes : int or None
        Number of classes; None: those of the target. An estimator raises a ValueError where its
        classes are not so many.

    References
    ----------
    McCullagh (1980), "Regression models for ordinal data", JRSS B 42, 109-142.
    """

    links = ("logit", "probit", "cloglog")
    column_settings = ()
    classifies = True
    discrete = True
    ordered = True
    runs_away = (
        "the expert holds no rows of a class, and its thresholds there run to infinity or together"
    )

    def __init__(self, link="logit", penalty=None, ridge=None, n_classes=None):
        self.link = link
        self.penalty = penalty
        self.ridge = ridge
        self.n_classes = n_classes

    @property
    def link_name(self):
        """Link of the classes."""
        return self.link

    @property
    def parameters(self):  # type: ignore[override]
        """The location, and the gaps between the thresholds."""
        if self.n_classes is None:
            raise ValueError(
                "OrdinalExpert() takes the number of classes from a target; use "
                'MoEClassifier(expert="ordinal"), or give n_classes=.'
            )
        gaps = [
            RowParameter(f"threshold {c} - threshold {c - 1}", "log", -12.0, 7.0)
            for c in range(1, self.n_classes - 1)
        ]
        return (RowParameter("location", "identity"), *gaps)

    # --- targets and settings ---------------------------------------------------------------

    def for_classes(self, n_classes):
        if self.n_classes not in (None, n_classes):
            raise ValueError(
                f"OrdinalExpert(n_classes={self.n_classes}) got {n_classes} classes. Leave "
                "n_classes out: MoEClassifier counts those of y, or of classes= in partial_fit."
            )
        return clone(self).set_params(n_classes=n_classes)

    def for_target(self, target, n_distinct):
        if self.ridge is not None:
            return self
        return clone(self).set_params(ridge=vanishing_ridge(n_distinct))

    def check_target(self, y, trials=None):
        self.check_penalty()
        if self.link not in self.links:
            raise ValueError(
                f"OrdinalExpert(link=...) must be one of {self.links}; got {self.link!r}."
            )
        if np.any(y != np.floor(y)) or y.min() < 0:
            raise ValueError("OrdinalExpert needs class codes 0..C-1; use MoEClassifier.")
        if self.n_classes is not None and y.max() >= self.n_classes:
            raise ValueError(
                f"OrdinalExpert(n_classes={self.n_classes}) got a class of code {y.max():g}; the "
                "codes are 0..n_classes - 1. Leave n_classes out to take it from the target."
            )

    def initial(self, K, q, y, weight, offset, trials, n_classes=0):
        return super().initial(K, q, y, weight, offset, trials)

    def initial_parameters(self, y, weight, offset, trials):
        counts = np.bincount(y.astype(int), weights=weight, minlength=self.n_classes)
        shares = np.maximum(counts / counts.sum(), 1e-6)
        below = np.cumsum(shares / shares.sum())[:-1]
        thresholds = LINKS[self.link].predictor(below)
        return -thresholds[0], *np.clip(np.diff(thresholds), NARROWEST, WIDEST)

    # --- the density ------------------------------------------------------------------------

    def _ends(self, eta, y):
        """Thresholds below and above every row's class, less its location; infinite at the ends."""
        gaps = [np.exp(gap) for gap in eta[1:]]
        zero = np.zeros(np.shape(gaps[0]) if gaps else (1, np.shape(eta[0])[-1]))
        steps = np.cumsum(np.broadcast_arrays(zero, *gaps), axis=0)
        edge = np.full((1, *steps.shape[1:]), np.inf)
        edges = np.concatenate([-edge, steps, edge])
        codes = np.asarray(y).astype(int)
        if edges.shape[1] == 1 and codes.shape[1] == 1:  # the same thresholds for all rows
            ends = (edges[codes[:, 0] + i, 0] for i in (0, 1))
        else:
            rows = np.broadcast_shapes(edges.shape[1:], codes.shape)
            table = np.broadcast_to(edges, (len(edges), *rows))
            index = np.broadcast_to(codes, rows)
            ends = (np.take_along_axis(table, index[None] + i, axis=0)[0] for i in (0, 1))
        return *(end - eta[0] for end in ends), codes

    def log_density_unit(self, eta, y, trials):
        a, b, _ = self._ends(eta, y)
        return log_between(self.link, a, b)

    def score_unit(self, eta, y, trials):
        return self.derivatives_unit(eta, y, trials)[1]

    def hessian_unit(self, eta, y, trials):
        return self.derivatives_unit(eta, y, trials)[2]

    def derivatives_unit(self, eta, y, trials):
        """As of the base. A gap moves the ends of the classes above it, all by the same amount."""
        a, b, codes = self._ends(eta, y)
        law = between(self.link, a, b)
        u, v = law.upper, law.lower
        both = u * v
        upper, lower = law.curved_upper + both, law.curved_lower + both
        score = np.empty((len(eta), *law.value.shape))
        hessian = np.empty((len(eta), *score.shape))
        score[0], hessian[0, 0] = v - u, upper + lower
        gaps = [np.exp(gap) for gap in eta[1:]]
        for l, gap in enumerate(gaps, start=1):
            above, at = codes > l, codes == l  # both ends move, or the upper one alone
            score[l] = gap * np.where(above, u - v, np.where(at, u, 0.0))
            moved = gap * np.where(above, hessian[0, 0], np.where(at, upper, 0.0))
            hessian[0, l] = hessian[l, 0] = -moved
            for j, other in enumerate(gaps[: l - 1], start=1):
                hessian[j, l] = hessian[l, j] = other * moved
            # a gap is the exponential of its parameter: it moves the ends again and again
            hessian[l, l] = gap * (moved - gap * np.where(at, both, 0.0)) + score[l]
        return law.value, score, hessian

    def _sums(self, unit, X, resp):
        """As of the base; the M-step takes the convex form from the scores."""
        used = self.used(X.shape[1]).ravel()
        score = weighted_score(X, unit.score, resp).reshape(-1, len(used))[:, used]
        gram = curvature_sums(X, -unit.hessian, resp, used)
        return gram, gram, score

    def m_step(self, params, stats):
        """Newton's step by the slopes and the gaps themselves, in which log P is concave.

        Not by the gaps' logarithms: an expert without the first class has a gap that grows for
        ever, along a direction that is straight in the gaps alone.
        """
        q = params.coef.shape[-1]
        own, place = self._own(params.coef), self._intercepts(q)
        gaps = np.exp(own[..., place[1:]])
        factor = np.ones(own.shape)
        factor[..., place[1:]] = gaps
        diagonal = np.zeros(own.shape)
        diagonal[..., place[1:]] = stats.score[..., place[1:]]
        eye = np.eye(own.shape[-1])
        gram = (stats.gram + diagonal[..., None] * eye) / (factor[..., None] * factor[..., None, :])
        strengths = stats.weight[..., None, None] * self._strengths(q)
        score = stats.score / factor - strengths * own
        gram = gram + strengths[..., None] * eye
        low, high = np.full((2, *own[..., place].shape), np.inf)
        low[..., 0] = -np.inf
        low[..., 1:] = np.maximum(NARROWEST, gaps / FARTHEST) - gaps
        low[..., 1:] = np.minimum(low[..., 1:], 0.0)
        high[..., 1:] = np.maximum(np.minimum(WIDEST, gaps * FARTHEST + 1) - gaps, 0.0)
        step = bounded_newton(gram, score, place, low, high)
        new = own + step
        new[..., place[1:]] = np.log(gaps + step[..., place[1:]])
        return self.project(DistributionalParams(self._coef(new, params.coef.shape)))

    def _strengths(self, q):
        strengths = np.zeros((len(self.parameters), q))
        own = 0.0 if self.ridge is None else float(self.ridge)
        strengths[0] = ridge(self.penalty, q, own, own)
        return strengths[self.used(q)]

    # --- the law of the codes ---------------------------------------------------------------

    def class_probabilities(self, theta):
        """(..., C) probabilities from the parameters themselves, on the last axis of ``theta``."""
        theta = np.asarray(theta, dtype=float)
        steps = np.cumsum(theta[..., 1:], axis=-1)
        thresholds = np.concatenate([np.zeros_like(theta[..., :1]), steps], axis=-1)
        thresholds = thresholds - theta[..., :1]
        edge = np.full_like(theta[..., :1], np.inf)
        a = np.concatenate([-edge, thresholds], axis=-1)
        b = np.concatenate([thresholds, edge], axis=-1)
        prob = np.exp(log_between(self.link, a, b))
        return prob / prob.sum(axis=-1, keepdims=True)

    def mean(self, params, X, offset, trials):
        with np.errstate(all="ignore"):
            return self.class_probabilities(self.theta(params, X, offset))

    def law(self, params, X, offset, trials, scaling):
        return self.mean(params, X, offset, trials), self.theta(params, X, offset)

    def mean_of(self, theta, trials):
        """Mean code."""
        prob = self.class_probabilities(np.stack(theta, axis=-1))
        return prob @ np.arange(prob.shape[-1])

    def variance_of(self, theta, trials):
        """Variance of the code."""
        prob = self.class_probabilities(np.stack(theta, axis=-1))
        codes = np.arange(prob.shape[-1])
        return prob @ codes**2 - (prob @ codes) ** 2

    def cdf_of(self, y, theta, trials):
        below = np.cumsum(self.class_probabilities(np.stack(theta, axis=-1)), axis=-1)
        y = np.broadcast_to(np.floor(y), np.broadcast_shapes(np.shape(y), below.shape[:-1]))
        last = below.shape[-1] - 1
        code = np.clip(y, 0, last).astype(int)[..., None]
        table = np.broadcast_to(below, (*y.shape, last + 1))
        inside = np.take_along_axis(table, code, axis=-1)[..., 0]
        return np.where(y < 0, 0.0, np.where(y >= last, 1.0, inside))

    def quantile_of(self, probability, theta, trials):
        below = np.cumsum(self.class_probabilities(np.stack(theta, axis=-1)), axis=-1)
        short = below[..., :-1] < np.asarray(probability, dtype=float)[..., None]
        return short.sum(axis=-1).astype(float)

    def draw_of(self, theta, trials, rng):
        return self.quantile_of(rng.random(np.shape(theta[0])), theta, trials)

    # --- what estimators show ---------------------------------------------------------------

    def main_coef(self, params):
        """(K, q): one predictor for all classes."""
        return params.coef[..., 0, :]

    def display(self, params):
        gaps = np.exp(params.coef[:, 1:, 0])
        first = -params.coef[:, :1, 0]
        return {"thresholds_": np.cumsum(np.concatenate([first, gaps], axis=1), axis=1)}

    def contrasts(self, params, names, reference):
        labels, forms = super().contrasts(params, names, reference)
        for i, label in enumerate(labels):
            if label.endswith(": (intercept)"):
                labels[i] = label.replace("(intercept)", "threshold 0")
                forms[i] *= -1
        return labels, forms

    def undetermined(self, params, y, resp, names):
        """Thresholds beside a class that the expert does not hold, and gaps at their bounds.

        Without its first classes the lowest thresholds fall for ever, without its last ones the
        highest rise, and one in between leaves a gap of nothing. In an expert with a single class
        nothing is determined.
        """
        labels, _ = self.contrasts(params, names, 0)
        per_expert = np.array(labels).reshape(len(params.coef), -1)
        place = self._intercepts(params.coef.shape[-1])
        held = np.array([resp[y[:, 0] == c].sum(axis=0) for c in range(self.n_classes)]).T
        out = []
        for own, mass, gaps in zip(per_expert, held, params.coef[:, 1:, 0], strict=True):
            classes = np.flatnonzero(mass >= FEWEST)
            if len(classes) < 2:
                out += list(own)
                continue
            # of thresholds that rise for ever the gap below is free, of all others their own
            missing = np.flatnonzero(mass < FEWEST)
            lost = set(np.where(missing > classes[-1], missing - 1, missing))
            ends = (gaps <= np.log(NARROWEST) + 1e-9) | (gaps >= np.log(WIDEST) - 1e-9)
            lost |= set(1 + np.flatnonzero(ends))
            out += list(own[place[sorted(lost)]])
        return [str(label) for label in out]
