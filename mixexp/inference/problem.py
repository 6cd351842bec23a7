"""The log-likelihood of a fit as a function of the reported parameters, and its maximisation."""

from __future__ import annotations

import functools
from typing import Any, NamedTuple

import numpy as np

from ..em.blocked import BlockRows
from ..em.model import MoEModel
from ..em.params import MoEParams, stack, take
from ..em.rows import Rows
from ..solvers.indefinite import newton_step
from .coordinates import Coordinates
from .information import information

MAX_STEPS = 100
HALVINGS = 40
GAIN = 1e-9  # of log-likelihood, that one more Newton step promises at a maximum


class Local(NamedTuple):
    """What a pass says at reported parameters: observed, outer and squared are (f, f)."""

    loglik: float
    score: np.ndarray
    observed: np.ndarray
    outer: np.ndarray
    squared: np.ndarray


class Problem(NamedTuple):
    """A fitted model, its rows and the coordinates that are reported."""

    model: MoEModel
    params: MoEParams
    rows: Rows
    coordinates: Coordinates

    def params_at(self, value) -> MoEParams:
        """Parameters of the model at reported ones (f,)."""
        step = np.asarray(value) - self.coordinates.value
        vector = self.model.pack(self.params) + self.coordinates.basis @ step
        return take(self.model.unpack(vector[None], stack([self.params])), 0)

    def at(self, value) -> Local:
        """One pass over the rows."""
        sums = information(self.model, self.params_at(value), self.rows)
        B = self.coordinates.basis
        matrices = (B.T @ matrix @ B for matrix in sums[2:])
        return Local(float(sums.loglik), B.T @ sums.score, *matrices)

    def loglik(self, value) -> float:
        here = functools.partial(_loglik, self.model, self.params_at(value))
        return float(
            self.rows.summed(here) if isinstance(self.rows, BlockRows) else here(self.rows)
        )


def _loglik(model, params, rows):
    return rows.unit_weight @ model.log_likelihood(params, rows)


class Constrained(NamedTuple):
    """A maximum under linear constraints: value (f,), what the pass says there, converged."""

    value: np.ndarray
    local: Any
    converged: bool


def maximise(problem: Problem, start, directions) -> Constrained:
    """Newton's method on the log-likelihood along the columns of ``directions`` (f, g).

    Steps use the observed information with its eigenvalues' absolute values, and are halved where
    they do not raise the log-likelihood.
    """
    value = np.asarray(start, dtype=float).copy()
    local = problem.at(value)
    for _ in range(MAX_STEPS):
        score = directions.T @ local.score
        if len(score) == 0:
            return Constrained(value, local, True)
        step = newton_step(directions.T @ local.observed @ directions, score)
        if step @ score <= GAIN:
            return Constrained(value, local, True)
        moved = _uphill(problem, value, local, directions @ step, step @ score)
        if moved is None:
            return Constrained(value, local, False)
        value, local = moved
    return Constrained(value, local, False)


def _uphill(problem, value, local, step, gain):
    share = 1.0
    for _ in range(HALVINGS):
        new = value + share * step
        if problem.loglik(new) >= local.loglik + 1e-4 * share * gain:
            return new, problem.at(new)
        share *= 0.5
    return None


def null_space(forms):
    """(f, g) orthonormal basis of the directions that the rows of ``forms`` leave alone."""
    _, size, right = np.linalg.svd(np.atleast_2d(forms))
    rank = int((size > 1e-10 * max(size.max(initial=0.0), 1e-300)).sum())
    return right[rank:].T
