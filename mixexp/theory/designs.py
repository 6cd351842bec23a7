"""Designs of rate studies: a known truth, and what is fitted to draws of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mixexp.datasets import LocalisedTruth, MoETruth
from mixexp.estimators import GLoMERegressor, MoEClassifier, MoERegressor

Floats = NDArray[np.float64]
Inputs = Callable[[int, np.random.Generator], Floats]


@dataclass(frozen=True, eq=False)
class RateDesign:
    """A truth, the law of its columns, and the estimator whose error is studied.

    Attributes
    ----------
    name : str
    truth : MoETruth or LocalisedTruth
    estimator : MoERegressor, MoEClassifier or GLoMERegressor
        Unfitted. With more experts than the truth the study is over-specified.
    sizes : tuple of int
        Numbers of rows of the full study.
    inputs : callable or None
        ``inputs(n, rng)`` draws X (n, p). None: the truth draws its own, as `LocalisedTruth`.

    Raises
    ------
    ValueError
        If the estimator has fewer experts than the truth, or nothing draws X.
    """

    name: str
    truth: Any
    estimator: Any
    sizes: tuple[int, ...]
    inputs: Inputs | None = None

    def __post_init__(self) -> None:
        if self.n_experts < self.truth.n_experts:
            raise ValueError(
                f"the estimator has {self.n_experts} experts and the truth "
                f"{self.truth.n_experts}: a fit with fewer experts has another limit. Set "
                "n_experts to that of the truth or more."
            )
        if self.inputs is None and not hasattr(self.truth, "sample_inputs"):
            raise ValueError(
                f"inputs must draw X: {type(self.truth).__name__} has no law of the columns. Pass "
                "inputs=lambda n, rng: rng.uniform(size=(n, p))."
            )

    @property
    def n_experts(self) -> int:
        """Number of experts that are fitted."""
        return int(self.estimator.n_experts)

    @property
    def overspecified(self) -> bool:
        """Whether more experts are fitted than there are."""
        return self.n_experts > self.truth.n_experts

    def draw(self, n: int, rng: np.random.Generator) -> tuple[Floats, Floats, NDArray[np.intp]]:
        """X (n, p), y and the experts z (n,) that the rows come from."""
        X = self.truth.sample_inputs(n, rng) if self.inputs is None else self.inputs(n, rng)
        y, z = self.truth.sample(X, rng)
        return X, y, z


def _unit_interval(n: int, rng: np.random.Generator) -> Floats:
    return rng.uniform(size=(n, 1))


def _six_wide(n: int, rng: np.random.Generator) -> Floats:
    return rng.uniform(-3.0, 3.0, size=(n, 1))


def sgamoe(n_experts: int = 2) -> RateDesign:
    """Two Gaussian experts behind a steep softmax gate, x uniform on (0, 1).

    The lines 15 - 20 x and -5 + 20 x with standard deviations 0.3 and 0.4; the log odds of the
    first expert are -8 + 25 x.

    Parameters
    ----------
    n_experts : int, default=2
        Experts that are fitted; with three or more the study is over-specified.

    Returns
    -------
    RateDesign

    References
    ----------
    Nguyen, Nguyen and Ho (2023), "Demystifying softmax gating function in Gaussian mixture of
    experts", NeurIPS 36. The truth is that of the code to arXiv:2510.12744.
    """
    truth = MoETruth(
        "gaussian",
        gate_coef=np.array([[25.0], [0.0]]),
        gate_intercept=np.array([-8.0, 0.0]),
        coef=np.array([[-20.0], [20.0]]),
        intercept=np.array([15.0, -5.0]),
        scale=np.array([0.3, 0.4]),
    )
    over = n_experts > truth.n_experts
    sizes = (500, 1000, 2000, 4000, 8000) if over else (300, 1000, 3000, 10_000, 30_000)
    name = f"softmax-gated Gaussian experts, {n_experts} for 2"
    return RateDesign(name, truth, MoERegressor(n_experts), sizes, _unit_interval)


# Models 1 and 2 of Nguyen, Nguyen, Nguyen and Ho (2024): centres, intercepts, residual variances.
_GGAMOE = {
    1: ((-0.1, 0.1, 0.5), (0.34045, -0.32857, 0.2), (0.0088767, 0.0264286, 0.0175)),
    2: (
        (0.0, 0.1, 0.5),
        (0.3, -0.32857, 0.2),
        (0.0081759 - 0.017324**2 / 0.042824, 0.0264286, 0.0175),
    ),
}


def ggamoe(model: int = 1, n_experts: int = 4) -> RateDesign:
    """Three Gaussian experts behind a Gaussian gate, in one column.

    Parameters
    ----------
    model : {1, 2}, default=1
        In the second model one class is centred at zero, where slopes are harder to find.
    n_experts : int, default=4
        Experts that are fitted; with four or more the study is over-specified.

    Returns
    -------
    RateDesign

    References
    ----------
    Nguyen, Nguyen, Nguyen and Ho (2024), "Towards convergence rates for parameter estimation in
    Gaussian-gated mixture of experts", AISTATS, arXiv:2305.07572.
    """
    if model not in _GGAMOE:
        raise ValueError(f"model must be 1 or 2; got {model!r}.")
    centres, intercepts, variances = _GGAMOE[model]
    lines = zip(intercepts, (0.40454, -0.71429, 0.0), strict=True)
    truth = LocalisedTruth(
        weights=np.array([0.3, 0.4, 0.3]),
        centres=np.array(centres)[:, None],
        covariances=np.array([0.042824, 0.0175, 0.01])[:, None, None],
        means=[_line(*line) for line in lines],
        residual_covariances=np.array(variances),
    )
    name = f"Gaussian-gated experts, model {model}, {n_experts} for 3"
    sizes = (100, 316, 1000, 3162, 10_000)
    return RateDesign(name, truth, GLoMERegressor(n_experts), sizes)


def _line(intercept: float, slope: float) -> Callable[[Floats], Floats]:
    return lambda X: intercept + slope * X[:, 0]


def multinomial(n_experts: int = 2) -> RateDesign:
    """Two multinomial experts of three classes behind a softmax gate, x uniform on (-3, 3).

    Class labels say little of a row: the law converges long before its parameters do, which need
    a hundred thousand rows or more.

    Parameters
    ----------
    n_experts : int, default=2

    Returns
    -------
    RateDesign

    References
    ----------
    Nguyen, Akbarian, Nguyen and Ho (2024), "A general theory for softmax gating multinomial
    logistic mixture of experts", ICML, arXiv:2310.14188.
    """
    truth = MoETruth(
        "multinomial",
        gate_coef=np.array([[4.0], [0.0]]),
        gate_intercept=np.array([0.5, 0.0]),
        coef=np.array([[[3.0], [-2.0], [0.0]], [[-2.0], [4.0], [0.0]]]),
        intercept=np.array([[0.5, -0.5, 0.0], [-1.0, 1.0, 0.0]]),
    )
    name = f"multinomial experts, {n_experts} for 2"
    return RateDesign(name, truth, MoEClassifier(n_experts), (2000, 8000, 32_000), _six_wide)
