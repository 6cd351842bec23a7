"""The approximate marginal log-likelihood and its gradient by all parameters.

Laplace: l(u) - |u|^2 / 2 - log |H| / 2 at the mode u, with H = I + A' W A. Its gradient has three
parts: what the parameters move directly, what they move in H by the third derivatives, and what
they move by moving the mode (implicit differentiation). The variational bound is stationary in its
law, so its gradient is the direct part alone.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from ...experts import Expert
from .determinant import determinant, is_bounded
from .mixture import third_order, third_order_complete
from .posterior import Posterior, View, bounds, highest_mode, mode, variational
from .precision import covariances, joint_covariance, row_covariances, solve
from .problem import Problem
from .quadrature import Nodes, adapted, integrate, slopes

APPROXIMATIONS = ("laplace", "variational", "quadrature")


class State(NamedTuple):
    """Where the next search for the law of the effects begins."""

    means: tuple[np.ndarray, ...]
    W: np.ndarray | None
    nodes: Nodes | None = None


class Law(NamedTuple):
    """means (G_l, D_l) and covariances (G_l, D_l, D_l) of the effects, per factor; sound: whether
    they are those of a proper maximum; joint (N, N): covariances of the effects of all factors, one
    factor after the other, or None; bounded: as of `Determinant`."""

    means: tuple[np.ndarray, ...]
    covariances: tuple[np.ndarray, ...]
    sound: bool
    joint: np.ndarray | None = None
    bounded: int = 0


class Marginal(NamedTuple):
    """value: the approximate marginal log-likelihood less the rows' own parts; gradient in the
    order of `Problem.pack`; law: of the effects; state: for the next evaluation."""

    value: float
    gradient: np.ndarray
    law: Law
    state: State


def first_state(problem: Problem) -> State:
    """Effects of zero."""
    return State(problem.zeros(), None)


def evaluate(problem: Problem, vector, state: State, approximation: str) -> Marginal:
    """Value and gradient at packed parameters."""
    return of_view(View.of(problem, problem.unpack(vector)), state, approximation)


def settled(view: View, approximation: str) -> Marginal:
    """Value and gradient from the highest modes of the effects."""
    means, _ = highest_mode(view, view.problem.zeros())
    return of_view(view, State(means, None), approximation)


def of_view(view: View, state: State, approximation: str) -> Marginal:
    """`evaluate` at the parameters of a view."""
    if approximation == "laplace":
        return _laplace(view, state)
    if approximation == "quadrature":
        return _integral(view, state)
    return _bound(view, state)


def _integral(view: View, state: State) -> Marginal:
    """By quadrature, with the nodes of ``state`` where it has some."""
    nodes = adapted(view, state.means) if state.nodes is None else state.nodes
    found = integrate(view, nodes)
    by_eta, by_p, by_root = slopes(view, nodes, found.shares)
    gradient = view.problem.pack_gradient(view.params, by_eta, by_p, [by_root])
    law = Law((found.means,), (found.covariances,), True)
    return Marginal(found.value, gradient, law, State((found.means,), None, nodes))


def _laplace(view: View, state: State) -> Marginal:
    problem, params = view.problem, view.params
    law = mode(view, state.means)
    terms, means = law.terms, law.means
    curved = _curvature(view, law)
    squares = sum(float((u**2).sum()) for u in means)
    value = float(terms.value.sum()) - 0.5 * (squares + curved.logs)
    # how the mode answers: H du = d(A' g - u)
    answer = solve(problem, law.precision, problem.gathered(view.loadings, curved.by_eta))
    moved = problem.moved(view.loadings, answer)
    total = terms.score + curved.by_eta - np.einsum("nab,nb->na", law.W, moved)
    by_dispersion = terms.by_log_dispersion + curved.by_p
    by_dispersion = by_dispersion + np.einsum("na,nak->nk", moved, terms.mixed)
    by_roots = []
    for l, (B, code) in enumerate(zip(problem.designs, problem.codes, strict=True)):
        u, own = means[l][code], answer[l][code]
        gradient = np.einsum("nja,nj,nb->ab", B, total, u, optimize=True)
        gradient += np.einsum("nja,nj,nb->ab", B, terms.score, own, optimize=True)
        by_roots.append(gradient - curved.by_roots[l])
    gradient = problem.pack_gradient(params, total, by_dispersion.sum(axis=0), by_roots)
    found_law = Law(means, curved.covariances, law.sound, curved.joint, curved.bounded)
    return Marginal(value, gradient, found_law, State(means, None))


class _Curvature(NamedTuple):
    """logs: log |H|; minus half its derivatives by predictors (n, J) and log dispersions (n, K) at
    fixed effects; half that by the roots; covariances, joint, bounded: as of `Law`."""

    logs: float
    by_eta: np.ndarray
    by_p: np.ndarray
    by_roots: list[np.ndarray]
    covariances: tuple[np.ndarray, ...]
    joint: np.ndarray | None
    bounded: int


def _curvature(view: View, law: Posterior) -> _Curvature:
    problem, loadings = view.problem, view.loadings
    eta = view.predictors(law.means)
    rows = problem.family, eta, view.params.log_dispersion, problem.y, problem.trials
    W, complete = law.terms.information, law.terms.complete
    if not is_bounded(problem):
        logs = sum(float(part.sum()) for part in law.precision.logs)
        P, V = row_covariances(problem, law.precision, loadings)
        by_eta, by_p = third_order(*rows, V)
        pairs = zip(problem.designs, P, strict=True)
        by_roots = [_by_precision(B, W, part) for B, part in pairs]
        own = covariances(problem, law.precision)
        joint = joint_covariance(problem, law.precision)
        return _Curvature(logs, 0.5 * by_eta, 0.5 * by_p, by_roots, own, joint, 0)
    found = determinant(problem, loadings, W, complete)
    by_eta, by_p = third_order(*rows, found.V)
    complete_eta, complete_p = third_order_complete(*rows, found.V_complete)
    triples = zip(problem.designs, found.information, found.complete, strict=True)
    by_roots = [_by_precision(B, W, P) + _by_precision(B, complete, Q) for B, P, Q in triples]
    return _Curvature(
        found.value,
        0.5 * (by_eta - complete_eta),
        0.5 * (by_p - complete_p),
        by_roots,
        found.covariances,
        found.joint,
        found.bounded,
    )


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
    own, joint = covariances(problem, law.precision), joint_covariance(problem, law.precision)
    found_law = Law(law.means, own, law.sound, joint)
    return Marginal(value, gradient, found_law, State(law.means, law.W))


def row_constants(expert: Expert, y, trials) -> float:
    """Sum of the parts of the log densities that depend on the rows alone."""
    return float(np.sum(expert.row_part(y[:, None], trials)))
