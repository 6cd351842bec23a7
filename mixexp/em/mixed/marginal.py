"""The approximate marginal log-likelihood and its gradient by all parameters.

Laplace: l(u) - |u|^2 / 2 - log |H| / 2 at the mode u, with H = I + A' W A. Its gradient holds three
parts: what the parameters move directly, what they move in H through the third derivatives, and what
they move by moving the mode (implicit differentiation). The variational bound is stationary in its
law, so its gradient is the direct part alone.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from ...experts import Expert
from .mixture import third_order
from .posterior import Posterior, View, bounds, mode, variational
from .precision import row_covariances, solve
from .problem import Problem

APPROXIMATIONS = ("laplace", "variational")


class State(NamedTuple):
    """Where the next search for the law of the effects begins."""

    means: tuple[np.ndarray, ...]
    W: np.ndarray | None


class Marginal(NamedTuple):
    """value: the approximate marginal log-likelihood less the rows' own parts; gradient in the
    order of `Problem.pack`; law: of the effects; state: for the next evaluation."""

    value: float
    gradient: np.ndarray
    law: Posterior
    state: State


def first_state(problem: Problem) -> State:
    """Effects of zero."""
    return State(problem.zeros(), None)


def evaluate(problem: Problem, vector, state: State, approximation: str) -> Marginal:
    """Value and gradient at packed parameters."""
    view = View.of(problem, problem.unpack(vector))
    if approximation == "laplace":
        return _laplace(view, state)
    return _bound(view, state)


def _laplace(view: View, state: State) -> Marginal:
    problem, params = view.problem, view.params
    law = mode(view, state.means)
    terms, means = law.terms, law.means
    logs = sum(float(part.sum()) for part in law.precision.logs)
    squares = sum(float((u**2).sum()) for u in means)
    value = float(terms.value.sum()) - 0.5 * (squares + logs)
    P, V = row_covariances(problem, law.precision, view.loadings)
    eta = view.predictors(means)
    by_eta, by_p = third_order(
        problem.family, eta, params.log_dispersion, problem.y, problem.trials, V
    )
    by_eta, by_p = 0.5 * by_eta, 0.5 * by_p
    # how the mode answers: H du = d(A' g - u)
    answer = solve(problem, law.precision, problem.gathered(view.loadings, by_eta))
    moved = problem.moved(view.loadings, answer)
    total = terms.score + by_eta - np.einsum("nab,nb->na", law.W, moved)
    by_dispersion = terms.by_log_dispersion + by_p + np.einsum("na,nak->nk", moved, terms.mixed)
    by_roots = []
    for l, (B, code) in enumerate(zip(problem.designs, problem.codes, strict=True)):
        u, own = means[l][code], answer[l][code]
        gradient = np.einsum("nja,nj,nb->ab", B, total, u, optimize=True)
        gradient += np.einsum("nja,nj,nb->ab", B, terms.score, own, optimize=True)
        by_roots.append(gradient - _by_precision(B, law.W, P[l]))
    gradient = problem.pack_gradient(params, total, by_dispersion.sum(axis=0), by_roots)
    return Marginal(value, gradient, law, State(means, None))


def _by_precision(B, W, P):
    """sum_i B_i' W_i P_i': half the derivative of log |H| by R where W is held."""
    return np.einsum("nja,njb->ab", B, W @ np.swapaxes(P, 1, 2), optimize=True)


def _bound(view: View, state: State) -> Marginal:
    problem, params = view.problem, view.params
    W = state.W
    if W is None:
        found = mode(view, state.means)
        state, W = State(found.means, found.terms.complete), found.terms.complete
    law = variational(view, state.means, W)
    value = float(bounds(view, law).sum())
    P, _ = row_covariances(problem, law.precision, view.loadings)
    terms = law.terms
    by_roots = []
    for l, (B, code) in enumerate(zip(problem.designs, problem.codes, strict=True)):
        gradient = np.einsum("nja,nj,nb->ab", B, terms.score, law.means[l][code], optimize=True)
        by_roots.append(gradient - _by_precision(B, terms.complete, P[l]))
    gradient = problem.pack_gradient(
        params, terms.score, terms.by_log_dispersion.sum(axis=0), by_roots
    )
    return Marginal(value, gradient, law, State(law.means, law.W))


def row_constants(expert: Expert, y, trials) -> float:
    """Sum of the parts of the log densities that depend on the rows alone."""
    return float(np.sum(expert.row_part(y[:, None], trials)))  # type: ignore[attr-defined]
