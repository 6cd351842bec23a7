"""The normal law that stands for the random effects given y: by its mode, or variationally.

Both are one iteration. With g and W the score and the information of the rows by their predictors,
either at the mean (Laplace) or averaged over the law itself (variational), the law is
N(u, (I + A' W A)^-1) and its mean solves A' g = u. The variational law maximises the evidence's
lower bound over all products of a normal law of the effects and laws of the rows' experts (Opper
and Archambeau, 2009, Neural Computation 21, 786-792). Steps are halved, and an indefinite
information gives way to that of the complete data, one connected component of groups at a time.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from .averaged import averaged_terms
from .mixture import RowTerms, row_terms, row_values
from .precision import NotPositive, Precision, covariances, factorise, row_covariances, solve
from .problem import MixedParams, Problem

MAX_STEPS = 200
HALVINGS = 25
DECREMENT = 1e-12  # of a component, below which Newton's next step is exact to rounding
JUMP = 2.0  # how far, in prior standard deviations, other modes are looked for
SETTLED = 1e-8  # change of the variational information, relative, that ends the iteration


class Posterior(NamedTuple):
    """N(means, precision^-1) with what was found on the way.

    terms: of the rows, at the mean or averaged over the law; W (n, J, J): the information that the
    precision is made of; sound: whether all components ended at a proper maximum.
    """

    means: tuple[np.ndarray, ...]
    W: np.ndarray
    precision: Precision
    terms: RowTerms
    sound: bool


class View(NamedTuple):
    """A problem at given parameters."""

    problem: Problem
    params: MixedParams
    fixed: np.ndarray
    loadings: tuple[np.ndarray, ...]

    @classmethod
    def of(cls, problem: Problem, params: MixedParams) -> View:
        return cls(problem, params, problem.fixed(params), problem.loadings(params))

    def predictors(self, means):
        return self.fixed + self.problem.moved(self.loadings, means)

    def terms(self, eta) -> RowTerms:
        p = self.problem
        return row_terms(p.family, eta, self.params.log_dispersion, p.y, p.trials)

    def values(self, eta):
        p = self.problem
        return row_values(p.family, eta, self.params.log_dispersion, p.y, p.trials)

    def factorised(self, W, complete) -> tuple[Precision, np.ndarray, bool]:
        """The precision; where it is not positive, with the complete data's information."""
        replaced = np.zeros(self.problem.n_components, dtype=bool)
        while True:
            try:
                return factorise(self.problem, self.loadings, W), W, not replaced.any()
            except NotPositive as error:
                if replaced[error.components].all():
                    raise
                replaced |= error.components
                rows = replaced[self.problem.component]
                W = np.where(rows[:, None, None], complete, W)


def added(means, steps, share, problem):
    """means + share * steps with one share per component."""
    return tuple(
        u + share[owner][:, None] * step
        for u, step, owner in zip(means, steps, problem.components, strict=True)
    )


def mode(view: View, means) -> Posterior:
    """The maximum of log p(y, u) over the effects, by Newton's method from ``means``."""
    problem = view.problem
    value = _log_joint(view, means)
    for _ in range(MAX_STEPS):
        terms = view.terms(view.predictors(means))
        slope = problem.gathered(view.loadings, terms.score)
        slope = tuple(a - u for a, u in zip(slope, means, strict=True))
        precision, _, _ = view.factorised(terms.information, terms.complete)
        steps = solve(problem, precision, slope)
        gain = problem.by_component(
            np.zeros(problem.n), [a * b for a, b in zip(slope, steps, strict=True)]
        )
        if gain.max() <= DECREMENT:
            means = added(means, steps, np.ones(problem.n_components), problem)
            break
        share = np.where(gain > 0, 1.0, 0.0)
        for _ in range(HALVINGS):
            tried = added(means, steps, share, problem)
            reached = _log_joint(view, tried)
            worse = ~(reached >= value - 1e-12 * (1 + np.abs(value)))
            if not worse.any():
                break
            share = np.where(worse, 0.5 * share, share)
        else:
            share = np.where(worse, 0.0, share)
            tried = added(means, steps, share, problem)
            reached = _log_joint(view, tried)
            if not share.any():
                break
        means, value = tried, reached
    terms = view.terms(view.predictors(means))
    precision, W, sound = view.factorised(terms.information, terms.complete)
    return Posterior(means, W, precision, terms, sound)


def highest_mode(view: View, means) -> tuple[tuple[np.ndarray, ...], bool]:
    """The highest modes that starts elsewhere lead to, and whether they beat those from ``means``.

    A mixture may have several modes in a group. The one that a change of parameters makes vanish is
    not the highest, as a rule, and where a mode vanishes Laplace's approximation has a pole.
    """
    problem = view.problem
    best = mode(view, means).means
    value, better = _log_joint(view, best), False
    starts = [problem.zeros()]
    if problem.n_components > 1:
        for l, (_, D) in enumerate(problem.shapes):
            for d in range(D):
                for move in (-JUMP, JUMP):
                    moved = [u.copy() for u in best]
                    moved[l][:, d] += move
                    starts.append(tuple(moved))
    for start in starts:
        try:
            found = mode(view, start).means
        except NotPositive:
            continue
        reached = _log_joint(view, found)
        higher = reached > value + 1e-7 * (1 + np.abs(value))
        if higher.any():
            better = True
            value = np.where(higher, reached, value)
            best = tuple(
                np.where(higher[owner][:, None], new, old)
                for new, old, owner in zip(found, best, problem.components, strict=True)
            )
    return best, better


def _log_joint(view, means):
    """(n_components,) log p(y, u), less constants."""
    rows = view.values(view.predictors(means))
    return view.problem.by_component(rows, [-0.5 * u**2 for u in means])


def variational(view: View, means, W) -> Posterior:
    """The normal law that maximises the lower bound, from ``means`` and information ``W``."""
    problem = view.problem
    law, bound = _law(view, means, W)
    for _ in range(MAX_STEPS):
        slope = problem.gathered(view.loadings, law.terms.score)
        slope = tuple(a - u for a, u in zip(slope, law.means, strict=True))
        target = law.terms.complete
        precision, _, _ = view.factorised(law.terms.information, target)
        steps = solve(problem, precision, slope)
        gain = problem.by_component(
            np.zeros(problem.n), [a * b for a, b in zip(slope, steps, strict=True)]
        )
        change = np.abs(target - law.W).max() / (1 + np.abs(target).max())
        if gain.max() <= DECREMENT and change <= SETTLED:
            break
        share = np.ones(problem.n_components)
        for _ in range(HALVINGS):
            tried, reached = _blended(view, law, steps, target, share)
            worse = ~(reached >= bound - 1e-9 * (1 + np.abs(bound)))
            if not worse.any():
                break
            share = np.where(worse, 0.5 * share, share)
        else:
            break
        law, bound = tried, reached
    return law


def _blended(view, law, steps, target, share):
    """The law part of the way to the next, and its bounds; one share per component."""
    part = share[view.problem.component][:, None, None]
    means = added(law.means, steps, share, view.problem)
    return _law(view, means, (1 - part) * law.W + part * target)


def _law(view, means, W):
    """A law with its averaged terms, and the bound of every component."""
    problem, params = view.problem, view.params
    precision = factorise(problem, view.loadings, W)
    _, V = row_covariances(problem, precision, view.loadings)
    eta = view.predictors(means)
    terms = averaged_terms(problem.family, eta, V, params.log_dispersion, problem.y, problem.trials)
    law = Posterior(means, W, precision, terms, True)
    return law, bounds(view, law)


def bounds(view: View, law: Posterior):
    """(n_components,) evidence lower bounds: E log p(y | u) - KL(law, prior)."""
    spread = [np.einsum("gdd->gd", S) for S in covariances(view.problem, law.precision)]
    divergence = [
        -0.5 * (s + u**2 - 1 + logs)
        for s, u, logs in zip(spread, law.means, law.precision.logs, strict=True)
    ]
    return view.problem.by_component(law.terms.value, divergence)
