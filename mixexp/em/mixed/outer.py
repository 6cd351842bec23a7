"""Maximising the approximate marginal likelihood over all parameters, and its curvature there."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy import optimize

from ..status import Status
from ..threads import single_threaded_blas
from .determinant import is_bounded
from .marginal import Law, Marginal, State, evaluate, first_state
from .posterior import View, highest_mode
from .precision import NotPositive
from .problem import MixedParams, Problem
from .quadrature import adapted, integrate

SHORT = 25  # iterations after which only the best start goes on
STEP = 1e-4  # of differences of the gradient
ZERO = np.log(2e-3)  # standard deviations below it, standardised, are zero to the data
STATIONARY = 1e-6  # gradient per row at which a fit counts as converged
POLISH = 4  # Newton steps at the end, at most
MOVED = 1e-3  # change of the log-likelihood by newly placed nodes that calls for another run
ROUNDS = 8  # runs of the optimiser between searches for higher modes, at most
STEEP = 50.0
WIDE = (np.log(1e-4), np.log(50.0))


class MixedFit(NamedTuple):
    """A finished fit.

    vector: parameters as `Problem.pack` orders them; loglik: approximate marginal log-likelihood
    less the rows' own parts; covariance (d, d): inverse observed information, NaN for parameters on
    a bound; held (d,): those on a bound; starts: the value that every start reached.
    """

    vector: np.ndarray
    loglik: float
    law: Law
    covariance: np.ndarray
    held: np.ndarray
    status: Status
    certificate: float
    n_evaluations: int
    starts: np.ndarray


class _Objective:
    """Minus the value per row, remembering where the effects were."""

    def __init__(self, problem: Problem, approximation: str, state: State | None = None):
        self.problem, self.approximation = problem, approximation
        self.state = first_state(problem) if state is None else state
        self.pending: tuple[np.ndarray, State] | None = None
        self.count = 0

    def accept(self, vector):
        """The optimiser has gone to ``vector``: searches begin at the effects found there. Points
        that it only tried leave no trace, or the value would depend on the way to a point."""
        if self.pending is not None and np.array_equal(self.pending[0], vector):
            self.state = self.pending[1]

    def refresh(self, vector) -> bool:
        """Look for higher modes of the effects, or let the nodes follow. Says if that matters."""
        view = View.of(self.problem, self.problem.unpack(vector))
        if self.approximation == "quadrature":
            return self._move_nodes(view)
        try:
            means, better = highest_mode(view, self.state.means)
        except NotPositive:
            return False
        if better and self.approximation == "laplace":
            self.state = State(means, None)
        return better and self.approximation == "laplace"

    def marginal(self, vector) -> Marginal:
        self.count += 1
        return evaluate(self.problem, vector, self.state, self.approximation)

    def __call__(self, vector):
        try:
            found = self.marginal(vector)
        except (NotPositive, np.linalg.LinAlgError):
            return 1e10, np.zeros(len(vector))
        finite = np.isfinite(found.value) and np.isfinite(found.gradient).all()
        pole = not is_bounded(self.problem) and not found.law.sound
        if pole or not finite:
            return 1e10, np.zeros(len(vector))
        self.pending = vector.copy(), found.state
        return -found.value / self.problem.n, -found.gradient / self.problem.n

    def _move_nodes(self, view) -> bool:
        nodes, old = adapted(view, self.state.means), self.state.nodes
        moved = old is None
        if old is not None:
            change = integrate(view, nodes).value - integrate(view, old).value
            moved = abs(change) > MOVED
        self.state = State(self.state.means, None, nodes)
        return moved


def limits(problem: Problem):
    """(d, 2) bounds of the parameters: standard deviations, shapes, steep gates."""
    K = problem.K
    low = [np.full((K - 1) * problem.X_gate.shape[1], -STEEP)]
    low.append(np.full(K * problem.X_expert.shape[1], -np.inf))
    high = [-low[0], -low[1]]
    if problem.family.has_dispersion:
        scales = problem.family.scales_target
        low.append(np.full(K, np.log(1e-3) if scales else np.log(1e-4)))
        high.append(np.full(K, np.log(1e3) if scales else np.log(1e6)))
    for free in problem.free:
        diagonal = np.eye(len(free), dtype=bool)[free]
        low.append(np.where(diagonal, WIDE[0], -STEEP))
        high.append(np.where(diagonal, WIDE[1], STEEP))
    return np.column_stack([np.concatenate(low), np.concatenate(high)])


def is_log_sd(problem: Problem) -> np.ndarray:
    """(d,) mask of the logarithms on the diagonals of the roots."""
    count = sum(int(free.sum()) for free in problem.free)
    own = np.concatenate([np.eye(len(free), dtype=bool)[free] for free in problem.free])
    total = len(limits(problem))
    return np.concatenate([np.zeros(total - count, dtype=bool), own])


def of_constant_columns(problem: Problem) -> np.ndarray:
    """(d,) mask of the coefficients that no row depends on."""
    empty = [np.tile(~problem.X_gate.any(axis=0), problem.K - 1)]
    empty.append(np.tile(~problem.X_expert.any(axis=0), problem.K))
    out = np.zeros(len(limits(problem)), dtype=bool)
    out[: sum(map(len, empty))] = np.concatenate(empty)
    return out


def fit(problem: Problem, starts: list[MixedParams], approximation: str, max_iter: int) -> MixedFit:
    """The best maximum from the given starts."""
    with single_threaded_blas():
        return _fit(problem, starts, approximation, max_iter)


def _fit(problem, starts, approximation, max_iter) -> MixedFit:
    bounds = limits(problem)
    runs = []
    for params in starts:
        objective = _Objective(problem, approximation)
        vector = np.clip(problem.pack(params), bounds[:, 0], bounds[:, 1])
        objective.refresh(vector)
        runs.append((objective, _minimise(objective, vector, bounds, min(SHORT, max_iter))))
    reached = np.array([-run.fun * problem.n for _, run in runs])
    objective, run = runs[int(np.argmax(reached))]
    vector, passed = run.x, run.nit
    for _ in range(ROUNDS):
        changed = objective.refresh(vector)
        done = passed < SHORT and not changed
        if done or passed >= max_iter:
            break
        run = _minimise(objective, vector, bounds, max_iter - passed)
        vector = run.x
        passed += max(run.nit, 1)
        if not changed:
            break
    vector, found, information, held = _polish(objective, vector, bounds)
    free = ~held
    certificate = float(np.abs(found.gradient[free]).max() / problem.n) if free.any() else 0.0
    covariance = _inverse(information, free)
    status = _status(problem, vector, bounds, certificate, passed >= max_iter)
    count = sum(one.count for one, _ in runs)
    return MixedFit(
        vector, found.value, found.law, covariance, held, status, certificate, count, reached
    )


def _minimise(objective, vector, bounds, max_iter):
    options = {"maxiter": max_iter, "maxfun": 3 * max_iter, "ftol": 1e-13, "gtol": 1e-8}
    return optimize.minimize(
        objective,
        vector,
        jac=True,
        method="L-BFGS-B",
        bounds=bounds,
        options=options,
        callback=objective.accept,
    )


def _held(objective, vector, gradient, bounds):
    """Parameters on a bound, or so near to a standard deviation of zero that it is one; and the
    coefficients of constant columns."""
    problem = objective.problem
    constant = of_constant_columns(problem)
    at = constant | (vector <= bounds[:, 0] + 1e-6) | (vector >= bounds[:, 1] - 1e-6)
    return at | (is_log_sd(problem) & (vector < ZERO))


def _polish(objective, vector, bounds):
    """Newton's method with differences of the gradient: the maximum, and the information there."""
    found = objective.marginal(vector)
    held = _held(objective, vector, found.gradient, bounds)
    information = _information(objective, vector, ~held)
    for _ in range(POLISH):
        free = ~held
        slope = found.gradient[free]
        own = information[np.ix_(free, free)]
        values, vectors = np.linalg.eigh(own)
        if not free.any() or values.min() <= 1e-8 * values.max():
            break
        step = np.zeros(len(vector))
        step[free] = vectors @ ((vectors.T @ slope) / values)
        gain = float(slope @ step[free])
        if gain <= 1e-13:
            break
        size = min(1.0, 0.5 / np.abs(step).max())
        moved = np.clip(vector + size * step, bounds[:, 0], bounds[:, 1])
        try:
            tried = objective.marginal(moved)
        except NotPositive:
            break
        if not tried.value >= found.value - 1e-9 * (1 + abs(found.value)):
            break
        vector, found, objective.state = moved, tried, tried.state
        held = _held(objective, vector, found.gradient, bounds)
        if gain > 1e-4 or held.any():
            information = _information(objective, vector, ~held)
    return vector, found, information, held


def _information(objective, vector, free):
    """(d, d) minus the differences of the gradient by the free parameters."""
    d = len(vector)
    out = np.zeros((d, d))
    for j in np.flatnonzero(free):
        step = np.zeros(d)
        step[j] = STEP * (1 + abs(vector[j]))
        up = objective.marginal(vector + step).gradient
        down = objective.marginal(vector - step).gradient
        out[j] = (down - up) / (2 * step[j])
    return 0.5 * (out + out.T)


def _inverse(information, free):
    """Covariance of the free parameters, NaN elsewhere, and everywhere if it is indefinite."""
    out = np.full(information.shape, np.nan)
    own = information[np.ix_(free, free)]
    if free.any() and np.isfinite(own).all():
        scale = np.sqrt(np.maximum(np.diag(own), 1e-300))
        values = np.linalg.eigvalsh(own / np.outer(scale, scale))
        if values.min() > 1e-9:
            out[np.ix_(free, free)] = np.linalg.inv(own)
    return out


def _status(problem, vector, bounds, certificate, exhausted) -> Status:
    gate = (problem.K - 1) * problem.X_gate.shape[1]
    other = gate + problem.K * problem.X_expert.shape[1]
    at = (vector <= bounds[:, 0] + 1e-6) | (vector >= bounds[:, 1] - 1e-6)
    if problem.family.has_dispersion and at[other : other + problem.K].any():
        return Status.DEGENERATE
    if certificate <= STATIONARY:
        return Status.SEPARATED if at[:gate].any() else Status.CONVERGED
    return Status.MAX_PASSES if exhausted else Status.STALLED
