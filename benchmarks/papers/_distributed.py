"""The simulation of Chamroukhi and Pham (2023): design, starts, and how good a fit is.

Rows come from K classes with x | z ~ N(mu_z, Sigma), so that the gate is exactly softmax; expert z
is linear with variance 3. Sigma is the identity, or has entries 4^-|i-j|, where classes overlap
more.
"""

from __future__ import annotations

import time
import warnings
from typing import Any, NamedTuple

import numpy as np
from scipy.optimize import linear_sum_assignment
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics import adjusted_rand_score

from mixexp import EM, MoERegressor
from mixexp.distributed import LocalFit, transport_divergence

K, D = 5, 20
VARIANCE = 3.0
SHARES = {
    "balanced": (0.2, 0.2, 0.2, 0.2, 0.2),
    "moderate": (0.10, 0.15, 0.20, 0.25, 0.30),
    "severe": (0.02, 0.08, 0.20, 0.30, 0.40),
}
STARTS, SHORT = 3, 20
TRANSPORT_ROWS = 500


class Truth(NamedTuple):
    """coef (K, D); centres (K, D); covariance (D, D); share (K,)."""

    coef: np.ndarray
    centres: np.ndarray
    covariance: np.ndarray
    share: np.ndarray

    @property
    def gate(self):
        """(K, 1 + D) logits, centred over the experts."""
        slopes = np.linalg.solve(self.covariance, self.centres.T).T
        level = -0.5 * (slopes * self.centres).sum(axis=1) + np.log(self.share)
        logits = np.column_stack([level, slopes])
        return logits - logits.mean(axis=0)

    def as_fit(self) -> LocalFit:
        coef = np.column_stack([np.zeros(K), self.coef])[:, None, :]
        scale = np.full((K, 1), np.sqrt(VARIANCE))
        columns = np.arange(D)
        return LocalFit(
            "gaussian", self.gate, coef, scale, 1.0, D, columns, columns, None, None, 0, "TRUTH"
        )


def make_truth(profile="balanced", correlated=False) -> Truth:
    """Slopes are integers from -10 to 10 (seed 28), as in the authors' code."""
    rng = np.random.default_rng(28)
    coef = rng.integers(-10, 11, (K, D)).astype(float)
    centres = 0.28 * rng.integers(-2, 3, (K, D))
    apart = np.abs(np.subtract.outer(np.arange(D), np.arange(D)))
    covariance = 4.0**-apart if correlated else np.eye(D)
    return Truth(coef, centres, covariance, np.array(SHARES[profile]))


class Sample(NamedTuple):
    X: np.ndarray
    y: np.ndarray
    z: np.ndarray


def draw(truth: Truth, n: int, seed) -> Sample:
    rng = np.random.default_rng(seed)
    z = rng.choice(K, n, p=truth.share)
    root = np.linalg.cholesky(truth.covariance)
    X = truth.centres[z] + rng.standard_normal((n, D)) @ root.T
    y = (X * truth.coef[z]).sum(axis=1) + np.sqrt(VARIANCE) * rng.standard_normal(n)
    return Sample(X, y, z)


def random_labels(n: int, seed) -> np.ndarray:
    """(STARTS, n) labels from which the global fit and, row by row, the local ones start."""
    return np.random.default_rng(seed).integers(0, K, (STARTS, n))


def best_fit(X, y, labels) -> Any:
    """Short runs from these labels, of which the highest goes on to convergence."""
    short = EM(max_passes=SHORT)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        runs = [MoERegressor(K, start=own, solver=short).fit(X, y) for own in labels]
        best = max(runs, key=lambda fit: fit.loglik_)
        return MoERegressor(K, start=best).fit(X, y)


class Clock(NamedTuple):
    """A result with CPU and elapsed seconds."""

    value: Any
    cpu: float
    elapsed: float


def timed(function, *arguments, **settings) -> Clock:
    cpu, elapsed = time.process_time(), time.perf_counter()
    value = function(*arguments, **settings)
    return Clock(value, time.process_time() - cpu, time.perf_counter() - elapsed)


def quality(model, truth: Truth, test: Sample) -> dict[str, float]:
    """How near the model is to the truth, and how it does on test rows."""
    squares = ((model.coef_[:, None] - truth.coef[None]) ** 2).sum(axis=2)
    squares += (model.intercept_**2)[:, None]
    mine, true = linear_sum_assignment(squares)
    gate = np.column_stack([model.gate_intercept_, model.gate_coef_])[mine] - truth.gate[true]
    variance = (model.dispersion_[mine] ** 2 - VARIANCE) ** 2
    total = squares[mine, true].sum() + variance.sum() + (gate**2).sum()
    labels = model.responsibilities(test.X, test.y).argmax(axis=1)
    matched = np.empty(K, dtype=int)
    matched[mine] = true
    return {
        "expert error": float(squares[mine, true].sum() / (K * (D + 1))),
        "error": float(total / (2 * K * (D + 1) + K - (D + 1))),
        "divergence": transport_divergence(model, truth.as_fit(), test.X[:TRANSPORT_ROWS]),
        "log-likelihood": float(model.log_prob(test.X, test.y).mean()),
        "prediction error": float(
            ((test.y - model.predict(test.X)) ** 2).sum() / (test.y**2).sum()
        ),
        "Rand index": float(adjusted_rand_score(test.z, labels)),
        "clustering error": float((matched[labels] != test.z).mean()),
    }
