"""The truth behind simulated data: a mixture of experts with known parameters."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

# Element by element, yet it keeps this package free of scipy; a density takes it once per row.
_log_gamma = np.vectorize(math.lgamma, otypes=[np.float64])


def _log_sum_exp(values: np.ndarray, axis: int = -1) -> np.ndarray:
    top = values.max(axis=axis, keepdims=True)
    return np.squeeze(top, axis) + np.log(np.exp(values - top).sum(axis=axis))


def _log_softmax(values: np.ndarray) -> np.ndarray:
    return values - _log_sum_exp(values)[..., None]


def _log_sigmoid(values: np.ndarray) -> np.ndarray:
    return -np.logaddexp(0.0, -values)


class _Family(NamedTuple):
    """Densities around linear predictors eta; ``own`` is the scale, the shape or the trials."""

    mean: Callable[..., np.ndarray]  # (eta, own) -> mean
    log_density: Callable[..., np.ndarray]  # (eta_nK, own, y_n1) -> (n, K)
    sample: Callable[..., np.ndarray]  # (eta_n, own, rng) -> y_n, one drawn expert per row


def _gaussian_log_density(eta: np.ndarray, scale: Any, y: np.ndarray) -> np.ndarray:
    return -0.5 * ((y - eta) / scale) ** 2 - np.log(scale) - 0.5 * np.log(2.0 * np.pi)


def _poisson_log_density(eta: np.ndarray, own: Any, y: np.ndarray) -> np.ndarray:
    return y * eta - np.exp(eta) - _log_gamma(y + 1.0)


def _binomial_log_density(eta: np.ndarray, trials: Any, y: np.ndarray) -> np.ndarray:
    failures = trials - y
    choose = _log_gamma(trials + 1.0) - _log_gamma(y + 1.0) - _log_gamma(failures + 1.0)
    return choose + y * _log_sigmoid(eta) + failures * _log_sigmoid(-eta)


def _gamma_log_density(eta: np.ndarray, shape: Any, y: np.ndarray) -> np.ndarray:
    ratio = np.log(shape) - eta  # log of the rate shape / mean
    log_y = np.log(y)
    return shape * ratio + (shape - 1.0) * log_y - np.exp(ratio + log_y) - _log_gamma(shape)


def _multinomial_log_density(eta: np.ndarray, own: Any, y: np.ndarray) -> np.ndarray:
    chosen = y.astype(np.intp)[..., None]  # (n, 1, 1), class index in the last axis of (n, K, C)
    return np.take_along_axis(_log_softmax(eta), chosen, axis=2)[..., 0]


def _multinomial_sample(eta: np.ndarray, own: Any, rng: np.random.Generator) -> np.ndarray:
    return draw_labels(np.exp(_log_softmax(eta)), rng)


FAMILIES: dict[str, _Family] = {
    "gaussian": _Family(
        lambda eta, own: eta,
        _gaussian_log_density,
        lambda eta, scale, rng: rng.normal(eta, scale),
    ),
    "poisson": _Family(
        lambda eta, own: np.exp(eta),
        _poisson_log_density,
        lambda eta, own, rng: rng.poisson(np.exp(eta)).astype(np.float64),
    ),
    "binomial": _Family(
        lambda eta, trials: trials * np.exp(_log_sigmoid(eta)),
        _binomial_log_density,
        lambda eta, trials, rng: rng.binomial(
            np.asarray(trials, dtype=np.int64), np.exp(_log_sigmoid(eta))
        ).astype(np.float64),
    ),
    "gamma": _Family(
        lambda eta, own: np.exp(eta),
        _gamma_log_density,
        lambda eta, shape, rng: rng.gamma(shape, np.exp(eta) / shape),
    ),
    "multinomial": _Family(
        lambda eta, own: np.exp(_log_softmax(eta)), _multinomial_log_density, _multinomial_sample
    ),
}


def draw_labels(proba_nK: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """One index per row, drawn with the row's probabilities (inverse of the cumulative sum)."""
    cumulative = np.cumsum(proba_nK, axis=1)
    u = rng.random((proba_nK.shape[0], 1)) * cumulative[:, -1:]
    return np.minimum((u >= cumulative).sum(axis=1), proba_nK.shape[1] - 1)


@dataclass(frozen=True, eq=False)
class MoETruth:
    """A known mixture of experts, p(y | x) = sum_k pi_k(x) f_k(y | x).

    The gate is pi(x) = softmax(gate_coef x + gate_intercept); the experts' linear predictors are
    eta_k = coef_k x + intercept_k, with identity (gaussian), log (poisson, gamma), logit
    (binomial) or softmax (multinomial) link. A column that a part does not use has zero
    coefficients there; a constant gate has zero ``gate_coef``.

    Attributes
    ----------
    expert : {"gaussian", "poisson", "binomial", "gamma", "multinomial"}
    gate_coef : ndarray of shape (K, p)
    gate_intercept : ndarray of shape (K,)
    coef : ndarray of shape (K, p); (K, C, p) for C classes
    intercept : ndarray of shape (K,); (K, C) for C classes
    scale : ndarray of shape (K,) or None
        Standard deviations of gaussian experts.
    shape : ndarray of shape (K,) or None
        Shapes of gamma experts (variance = mean squared / shape).
    trials : int, ndarray of shape (n,) or None
        Number of trials of binomial experts.
    z : ndarray of shape (n,) or None
        The expert that each simulated row came from.

    Raises
    ------
    ValueError
        When the family is unknown, shapes disagree, or a scale, shape or trials is not positive.
    """

    expert: str
    gate_coef: np.ndarray
    gate_intercept: np.ndarray
    coef: np.ndarray
    intercept: np.ndarray
    scale: np.ndarray | None = None
    shape: np.ndarray | None = None
    trials: int | np.ndarray | None = None
    z: np.ndarray | None = None

    def __post_init__(self) -> None:
        if self.expert not in FAMILIES:
            raise ValueError(f"expert must be one of {', '.join(FAMILIES)}; got {self.expert!r}.")
        for name in ("gate_coef", "gate_intercept", "coef", "intercept", "scale", "shape"):
            if getattr(self, name) is not None:
                object.__setattr__(self, name, np.asarray(getattr(self, name), dtype=np.float64))
        self._check_shapes()
        own = {"gaussian": "scale", "gamma": "shape", "binomial": "trials"}.get(self.expert)
        if own is not None:
            self._check_positive(own)

    def _check_shapes(self) -> None:
        if self.gate_coef.ndim != 2:
            raise ValueError(f"gate_coef must have shape (K, p); got {self.gate_coef.shape}.")
        K, p = self.gate_coef.shape
        classes = self.intercept.shape[1:] if self.expert == "multinomial" else ()
        if self.expert == "multinomial" and len(classes) != 1:
            raise ValueError(f"intercept must have shape (K, C); got {self.intercept.shape}.")
        wanted = {
            "gate_intercept": (K,),
            "coef": (K, *classes, p),
            "intercept": (K, *classes),
            "scale": (K,),
            "shape": (K,),
        }
        for name, shape in wanted.items():
            value = getattr(self, name)
            if value is not None and value.shape != shape:
                raise ValueError(f"{name} must have shape {shape}; got {value.shape}.")

    def _check_positive(self, name: str) -> None:
        value = getattr(self, name)
        if value is None or not np.all(np.asarray(value) > 0):
            raise ValueError(f'expert="{self.expert}" needs positive {name}; got {value}.')

    @property
    def n_experts(self) -> int:
        """Number of experts, K."""
        return self.gate_coef.shape[0]

    @property
    def n_features(self) -> int:
        """Number of columns of X, p."""
        return self.gate_coef.shape[1]

    def _rows(self, X: Any) -> np.ndarray:
        X = np.asarray(X, dtype=np.float64)
        if X.ndim != 2 or X.shape[1] != self.n_features:
            raise ValueError(f"X must have shape (n, {self.n_features}); got {X.shape}.")
        return X

    def _eta(self, X: np.ndarray) -> np.ndarray:
        """Linear predictors (n, K) or (n, K, C)."""
        return np.tensordot(X, self.coef, axes=(1, self.coef.ndim - 1)) + self.intercept

    def _own(self, n: int, trials: Any) -> Any:
        """Scale or shape (K,), or trials (n, 1); None for the families without."""
        if self.expert != "binomial":
            return self.scale if self.expert == "gaussian" else self.shape
        counts = np.asarray(self.trials if trials is None else trials, dtype=np.float64)
        if counts.ndim > 1 or (counts.ndim == 1 and counts.shape != (n,)):
            raise ValueError(f"trials must be a number or have shape ({n},); got {counts.shape}.")
        return np.broadcast_to(counts.reshape(-1, 1), (n, 1))

    def gate_log_proba(self, X: Any) -> np.ndarray:
        """Log of :meth:`gate_proba`, (n, K)."""
        return _log_softmax(self._rows(X) @ self.gate_coef.T + self.gate_intercept)

    def gate_proba(self, X: Any) -> np.ndarray:
        """Probability of each expert given x, (n, K); rows sum to 1."""
        return np.exp(self.gate_log_proba(X))

    def log_prob(self, X: Any, y: Any, *, trials: Any = None) -> np.ndarray:
        """Log p(y | x) with all constants, (n,).

        ``trials`` (a number or (n,)) replaces the truth's own, for rows other than the simulated.
        """
        X = self._rows(X)
        y = np.asarray(y, dtype=np.float64)
        if y.shape != (X.shape[0],):
            raise ValueError(f"y must have shape ({X.shape[0]},); got {y.shape}.")
        own = self._own(X.shape[0], trials)
        density = FAMILIES[self.expert].log_density(self._eta(X), own, y[:, None])
        return _log_sum_exp(self.gate_log_proba(X) + density)

    def mean(self, X: Any, *, trials: Any = None) -> np.ndarray:
        """E[y | x], (n,); for classes the probabilities (n, C)."""
        X = self._rows(X)
        means = FAMILIES[self.expert].mean(self._eta(X), self._own(X.shape[0], trials))
        return np.einsum("nk,nk...->n...", self.gate_proba(X), means)

    def sample(
        self, X: Any, rng: np.random.Generator, *, trials: Any = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """Draw ``(y, z)``, each (n,): responses, and the experts that they come from."""
        X = self._rows(X)
        n = X.shape[0]
        z = draw_labels(self.gate_proba(X), rng)
        own = self._own(n, trials)
        if own is not None:
            own = own[:, 0] if self.expert == "binomial" else own[z]
        y = FAMILIES[self.expert].sample(self._eta(X)[np.arange(n), z], own, rng)
        return y, z
