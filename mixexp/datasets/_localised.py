"""Simulated data from Gaussian-gated (localised) experts with a known truth."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from mixexp.datasets._simulated import _check_choice, _check_count, _make_rng
from mixexp.datasets._truth import _log_softmax, _log_sum_exp, draw_labels


@dataclass(frozen=True, eq=False)
class LocalisedTruth:
    """A known Gaussian-gated mixture of Gaussian experts, with means of any shape.

    x ~ sum_k pi_k N(c_k, Gamma_k), and y given x is a mixture of N(m_k(x), Sigma_k) with the
    probabilities of the classes at x, which are proportional to pi_k N(x; c_k, Gamma_k).

    Attributes
    ----------
    weights : ndarray of shape (K,)
        pi_k; they sum to 1.
    centres : ndarray of shape (K, p)
        c_k.
    covariances : ndarray of shape (K, p, p)
        Gamma_k.
    means : sequence of K callables
        m_k: X (n, p) to (n,), or to (n, m) for m responses.
    residual_covariances : ndarray of shape (K,) or (K, m, m)
        Sigma_k; variances (K,) for a single response, y (n,).
    z : ndarray of shape (n,) or None
        The expert that each simulated row came from.

    Raises
    ------
    ValueError
        When shapes disagree, or weights or covariances are not positive (definite).
    """

    weights: np.ndarray
    centres: np.ndarray
    covariances: np.ndarray
    means: Sequence[Callable[[np.ndarray], np.ndarray]]
    residual_covariances: np.ndarray
    z: np.ndarray | None = None

    def __post_init__(self) -> None:
        for name in ("weights", "centres", "covariances", "residual_covariances"):
            object.__setattr__(self, name, np.asarray(getattr(self, name), dtype=np.float64))
        K = len(self.weights)
        p = self.centres.shape[-1] if self.centres.ndim == 2 else 0
        shapes = {"weights": (K,), "centres": (K, p), "covariances": (K, p, p)}
        if self.residual_covariances.ndim != 1:
            shapes["residual_covariances"] = (K, *self.residual_covariances.shape[-1:] * 2)
        else:
            shapes["residual_covariances"] = (K,)
        for name, shape in shapes.items():
            if getattr(self, name).shape != shape:
                raise ValueError(
                    f"{name} must have shape {shape}; got {getattr(self, name).shape}."
                )
        if len(self.means) != K:
            raise ValueError(f"means must be {K} functions, one an expert; got {len(self.means)}.")
        if not (np.all(self.weights > 0) and abs(self.weights.sum() - 1) < 1e-8):
            raise ValueError(f"weights must be positive and sum to 1; got {self.weights}.")
        for name in ("covariances", "residual_covariances"):
            if not np.all(np.linalg.eigvalsh(self._matrices(name)) > 0):
                raise ValueError(f"{name} must be positive definite.")

    def _matrices(self, name: str) -> np.ndarray:
        values = getattr(self, name)
        return values[:, None, None] if values.ndim == 1 else values

    @property
    def n_experts(self) -> int:
        """Number of experts, K."""
        return len(self.weights)

    @property
    def n_features(self) -> int:
        """Number of columns of X, p."""
        return self.centres.shape[1]

    def _rows(self, X: Any) -> np.ndarray:
        X = np.asarray(X, dtype=np.float64)
        if X.ndim != 2 or X.shape[1] != self.n_features:
            raise ValueError(f"X must have shape (n, {self.n_features}); got {X.shape}.")
        return X

    def _expert_means(self, X: np.ndarray) -> np.ndarray:
        """(n, K, m) means of the experts."""
        return np.stack([np.reshape(mean(X), (len(X), -1)) for mean in self.means], axis=1)

    def gate_log_proba(self, X: Any) -> np.ndarray:
        """Log of :meth:`gate_proba`, (n, K)."""
        X = self._rows(X)
        density = _log_normal(X[:, None, :] - self.centres, self.covariances)
        return _log_softmax(np.log(self.weights) + density)

    def gate_proba(self, X: Any) -> np.ndarray:
        """Probability of each expert given x, (n, K); rows sum to 1."""
        return np.exp(self.gate_log_proba(X))

    def log_prob(self, X: Any, y: Any) -> np.ndarray:
        """Log p(y | x) with all constants, (n,)."""
        X = self._rows(X)
        means = self._expert_means(X)
        y = np.asarray(y, dtype=np.float64).reshape(len(X), 1, -1)
        density = _log_normal(y - means, self._matrices("residual_covariances"))
        return _log_sum_exp(self.gate_log_proba(X) + density)

    def mean(self, X: Any) -> np.ndarray:
        """E[y | x], (n,) or (n, m)."""
        X = self._rows(X)
        return self._one(np.einsum("nk,nkm->nm", self.gate_proba(X), self._expert_means(X)))

    def sample_inputs(self, n: int, rng: np.random.Generator) -> np.ndarray:
        """(n, p) draws of x."""
        labels = rng.choice(self.n_experts, size=n, p=self.weights)
        factors = np.linalg.cholesky(self.covariances)
        noise = rng.standard_normal((n, self.n_features))
        return self.centres[labels] + np.einsum("npq,nq->np", factors[labels], noise)

    def sample(self, X: Any, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """Draw ``(y, z)`` at given x: responses, and the experts that they come from."""
        X = self._rows(X)
        z = draw_labels(self.gate_proba(X), rng)
        means = self._expert_means(X)[np.arange(len(X)), z]
        factors = np.linalg.cholesky(self._matrices("residual_covariances"))
        noise = rng.standard_normal(means.shape)
        return self._one(means + np.einsum("nij,nj->ni", factors[z], noise)), z

    def _one(self, values: np.ndarray) -> np.ndarray:
        return values[:, 0] if self.residual_covariances.ndim == 1 else values


def _log_normal(apart: np.ndarray, covariances: np.ndarray) -> np.ndarray:
    """(n, K) log densities of K centred normal laws at ``apart`` (n, K, d)."""
    factors = np.linalg.cholesky(covariances)
    scaled = np.linalg.solve(factors, np.moveaxis(apart, 0, 2))  # (K, d, n)
    size = np.log(np.einsum("kdd->kd", factors)).sum(axis=1)
    constant = 0.5 * apart.shape[2] * np.log(2 * np.pi)
    return -0.5 * (scaled**2).sum(axis=1).T - size - constant


def _two_regimes(*means: Callable[[np.ndarray], np.ndarray]) -> LocalisedTruth:
    variances = np.array([0.1, 0.15])
    centres = np.array([[0.2], [0.8]])
    return LocalisedTruth(
        np.array([0.5, 0.5]), centres, variances[:, None, None], means, np.array([0.09, 0.09])
    )


_DESIGNS: dict[str, tuple[Callable[[np.ndarray], np.ndarray], ...]] = {
    "lines": (lambda X: 2 - 5 * X[:, 0], lambda X: 0.1 * X[:, 0]),
    "parabolas": (lambda X: 1 - 6 * X[:, 0] + X[:, 0] ** 2, lambda X: -0.4 * X[:, 0] ** 2),
}


def make_localised_regression(
    n_samples: int = 1000,
    design: str | LocalisedTruth = "lines",
    *,
    random_state: Any = None,
    return_truth: bool = False,
) -> tuple[Any, ...]:
    """Regression data from Gaussian-gated experts whose parameters are known.

    The named designs are those of Nguyen, Nguyen, Chamroukhi and Forbes (2022): one column from
    two overlapping normal laws, N(0.2, 0.1) and N(0.8, 0.15) with equal weights, a regression in
    each, and noise with standard deviation 0.3. ``"lines"`` has the means 2 - 5 x and 0.1 x, which
    affine experts can equal; ``"parabolas"`` has 1 - 6 x + x^2 and -0.4 x^2, which they cannot.

    Parameters
    ----------
    n_samples : int, default=1000
    design : {"lines", "parabolas"} or LocalisedTruth, default="lines"
    random_state : int, Generator, RandomState or None
        The same int gives the same data.
    return_truth : bool, default=False
        Also return the truth, with the drawn labels in ``truth.z``.

    Returns
    -------
    X : ndarray of shape (n, p)
    y : ndarray of shape (n,) or (n, m)
    truth : LocalisedTruth
        With ``return_truth=True`` only.

    References
    ----------
    Nguyen, Nguyen, Chamroukhi and Forbes (2022), "A non-asymptotic approach for model selection
    via penalization in high-dimensional mixture of experts models", Electron. J. Stat. 16.

    Examples
    --------
    >>> from mixexp.datasets import make_localised_regression
    >>> X, y, truth = make_localised_regression(200, random_state=0, return_truth=True)
    >>> X.shape, y.shape, truth.n_experts
    ((200, 1), (200,), 2)
    """
    n = _check_count("n_samples", n_samples, 1)
    if isinstance(design, LocalisedTruth):
        truth = design
    else:
        truth = _two_regimes(*_DESIGNS[_check_choice("design", design, list(_DESIGNS))])
    rng = _make_rng(random_state)
    X = truth.sample_inputs(n, rng)
    y, z = truth.sample(X, rng)
    return (X, y, replace(truth, z=z)) if return_truth else (X, y)
