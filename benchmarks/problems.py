"""Simulated problems and common starts of the benchmarks."""

from __future__ import annotations

import numpy as np

from mixexp.em.model import MoEModel
from mixexp.em.rows import Rows, standardisation
from mixexp.experts import GaussianExpert, PoissonExpert
from mixexp.gates import SoftmaxGate


def simulate(n, p, K, *, separation=1.0, family="gaussian", seed=0):
    """X (n, p), y (n,) and the true labels of a softmax gate over linear experts."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, p))
    W = rng.normal(size=(K, p + 1)) * separation * min(1.0, 1.5 / np.sqrt(p))
    B = rng.normal(size=(K, p + 1)) * separation * min(1.0, 1.5 / np.sqrt(p))
    design = np.column_stack([np.ones(n), X])
    labels = (design @ W.T + rng.gumbel(size=(n, K))).argmax(axis=1)
    eta = np.einsum("nq,nq->n", design, B[labels])
    if family == "poisson":
        return X, rng.poisson(np.exp(1 + 0.5 * np.clip(eta, -4, 4))).astype(float), labels
    return X, eta + 0.5 * rng.normal(size=n), labels


def disturbed(labels, K, seed=1):
    """The labels with 30 % of them drawn anew: a common start for several programs."""
    rng = np.random.default_rng(seed)
    return np.where(rng.uniform(size=len(labels)) < 0.3, rng.integers(0, K, len(labels)), labels)


def build(X, y, K, expert=None, **inputs):
    """Model and rows of a softmax gate over experts on all columns."""
    rows = Rows(X, y[:, None], **inputs)
    expert = expert or GaussianExpert()
    columns = np.arange(X.shape[1])
    scaling = standardisation(rows, expert.scales_target)
    return MoEModel(SoftmaxGate(), expert, K, columns, columns, scaling), rows


def start_from(model, rows, labels, S=1):
    """Batch of S equal parameter sets: the M-step of hard labels."""
    return model.from_responsibilities(rows, [np.eye(model.K)[labels]] * S)


def family_of(name):
    return {"gaussian": GaussianExpert, "poisson": PoissonExpert}[name]()
