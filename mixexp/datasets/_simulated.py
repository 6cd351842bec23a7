"""Simulated regression and classification data from a mixture of experts with a known truth."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from statistics import NormalDist
from typing import Any, NamedTuple

import numpy as np

from mixexp.datasets._truth import MoETruth

_GATES = ("softmax", "constant")


class _Style(NamedTuple):
    """Size of a family's linear predictors, small where they are exponentiated."""

    level: float  # common intercept
    spread: float  # amplitude per unit of separation
    noise: float | None  # default noise; None for families without one


_STYLES = {
    "gaussian": _Style(0.0, 1.0, 0.5),
    "poisson": _Style(1.5, 0.3, None),
    "binomial": _Style(0.0, 0.5, None),
    "gamma": _Style(1.0, 0.3, 0.3),
    "multinomial": _Style(0.0, 1.0, None),
}


def _make_rng(random_state: Any) -> np.random.Generator:
    if isinstance(random_state, np.random.Generator):
        return random_state
    if isinstance(random_state, np.random.RandomState):
        return np.random.default_rng(random_state.randint(2**31 - 1))
    return np.random.default_rng(random_state)


def _check_count(name: str, value: Any, least: int) -> int:
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < least:
        raise ValueError(f"{name} must be an integer of at least {least}; got {value!r}.")
    return int(value)


def _check_choice(name: str, value: Any, choices: Sequence[str]) -> str:
    if not isinstance(value, str) or value not in choices:
        raise ValueError(f"{name} must be one of {', '.join(choices)}; got {value!r}.")
    return value


def _check_number(name: str, value: Any, *, positive: bool) -> float:
    number = float(value) if isinstance(value, (int, float, np.integer, np.floating)) else np.nan
    if not (np.isfinite(number) and number >= 0 and (number > 0 or not positive)):
        kind = "positive" if positive else "non-negative"
        raise ValueError(f"{name} must be a finite {kind} number; got {value!r}.")
    return number


def _check_columns(name: str, columns: Any, p: int) -> np.ndarray:
    """Column indices in 0..p-1 from None (all), a slice, or integers without repeats."""
    if columns is None:
        return np.arange(p)
    if isinstance(columns, slice):
        return np.arange(p)[columns]
    found = np.atleast_1d(np.asarray(columns))
    if found.size == 0:
        return np.empty(0, dtype=np.intp)
    fits = found.ndim == 1 and found.dtype.kind in "iu"
    if not fits or found.min() < -p or found.max() >= p or np.unique(found % p).size != found.size:
        raise ValueError(
            f"{name} must be distinct column indices below n_features={p}, or a slice; "
            f"got {columns!r}."
        )
    return found % p


def _check_trials(trials: Any, n: int) -> np.ndarray | int:
    counts = np.asarray(trials)
    if counts.dtype.kind not in "iu" or counts.shape not in ((), (n,)) or counts.min() < 1:
        raise ValueError(
            f"trials must be a positive integer or {n} of them (one a row); got {trials!r}."
        )
    return int(counts) if counts.ndim == 0 else counts


def _draw_gate(
    rng: np.random.Generator, K: int, p: int, columns: np.ndarray, separation: float
) -> tuple[np.ndarray, np.ndarray]:
    """Slopes (K, p) and intercepts (K,) that give every expert a region of similar size.

    One column: the regions are intervals around the normal quantiles. More: sectors of a random
    plane, since K directions at equal angles have equal shares of a standard normal x.
    """
    coef = np.zeros((K, p))
    if columns.size == 1:
        centres = np.array([NormalDist().inv_cdf((k + 0.5) / K) for k in range(K)])
        coef[:, columns[0]] = 2.0 * separation * centres
        return coef, -separation * centres**2
    angles = rng.uniform(0.0, 2.0 * np.pi) + 2.0 * np.pi * np.arange(K) / K
    plane = np.linalg.qr(rng.standard_normal((columns.size, 2)))[0]
    coef[:, columns] = separation * np.column_stack([np.cos(angles), np.sin(angles)]) @ plane.T
    return coef, np.zeros(K)


def _draw_experts(
    rng: np.random.Generator,
    shape: tuple[int, ...],
    p: int,
    columns: np.ndarray,
    style: _Style,
    separation: float,
) -> tuple[np.ndarray, np.ndarray]:
    """Coefficients (*shape, p) and intercepts shape; they differ in proportion to separation."""
    width = max(columns.size, 1)
    common = rng.standard_normal((1, *shape[1:], columns.size))
    slopes = common + separation * rng.standard_normal((*shape, columns.size))
    coef = np.zeros((*shape, p))
    coef[..., columns] = style.spread * slopes / np.sqrt(width)
    shift = rng.permuted(
        np.broadcast_to(np.linspace(-1.0, 1.0, shape[0]), (*shape[1:], shape[0])), axis=-1
    )
    intercept = style.level + style.spread * separation * np.moveaxis(shift, -1, 0)
    return coef, intercept


def _draw_truth(
    rng: np.random.Generator,
    expert: str,
    gate: str,
    shape: tuple[int, ...],
    p: int,
    gate_columns: np.ndarray,
    expert_columns: np.ndarray,
    noise: float | None,
    separation: float,
    trials: np.ndarray | int | None,
) -> MoETruth:
    K, style = shape[0], _STYLES[expert]
    if gate == "softmax" and gate_columns.size:
        gate_coef, gate_intercept = _draw_gate(rng, K, p, gate_columns, separation)
    else:
        gate_coef, gate_intercept = np.zeros((K, p)), np.log(rng.dirichlet(np.full(K, 20.0)))
    coef, intercept = _draw_experts(rng, shape, p, expert_columns, style, separation)
    own: dict[str, Any] = {}
    if noise is not None:
        factors = rng.uniform(0.75, 1.25, K)  # every expert has its own scale
        own = {"scale": noise * factors} if expert == "gaussian" else {}
        own = own or {"shape": (noise * factors) ** -2.0}
    return MoETruth(expert, gate_coef, gate_intercept, coef, intercept, trials=trials, **own)


def _sample_from(
    truth: MoETruth, n: int, rng: np.random.Generator, return_truth: bool
) -> tuple[Any, ...]:
    X = rng.standard_normal((n, truth.n_features))
    y, z = truth.sample(X, rng)
    return (X, y, replace(truth, z=z)) if return_truth else (X, y)


def make_moe_regression(
    n_samples: int = 500,
    n_features: int = 2,
    n_experts: int = 3,
    *,
    gate: str = "softmax",
    expert: str = "gaussian",
    noise: float | None = None,
    separation: float = 2.0,
    gate_features: Any = None,
    expert_features: Any = None,
    trials: Any = None,
    truth: MoETruth | None = None,
    random_state: Any = None,
    return_truth: bool = False,
) -> tuple[Any, ...]:
    """Regression data from a mixture of experts whose parameters are known.

    The columns of X are independent standard normal. With a softmax gate the experts have regions
    of similar size; the gate's slopes and the differences between the experts grow with
    ``separation``.

    Parameters
    ----------
    n_samples, n_features, n_experts : int
        Rows n, columns p and experts K.
    gate : {"softmax", "constant"}
        Whether the mixing probabilities depend on x.
    expert : {"gaussian", "poisson", "binomial", "gamma"}
        Family of the experts, with identity, log, logit and log link.
    noise : float, optional
        Typical standard deviation of gaussian experts (default 0.5), or coefficient of variation
        of gamma experts (default 0.3); each expert has its own, within a quarter of it. The other
        families have none.
    separation : float, default=2.0
        How far the experts are apart; 0 makes them equal.
    gate_features, expert_features : slice or sequence of int, optional
        The columns that the gate, and the experts, depend on; by default all.
    trials : int or array of shape (n_samples,), optional
        Number of trials of binomial experts (default 10); the target counts the successes.
    truth : MoETruth, optional
        Sample from this truth; n_samples, random_state and return_truth then are all that counts,
        the other arguments are not looked at.
    random_state : int, Generator, RandomState or None
        The same int gives the same data.
    return_truth : bool, default=False
        Also return the truth, with the drawn labels in ``truth.z``.

    Returns
    -------
    X : ndarray of shape (n, p)
    y : ndarray of shape (n,), float64
    truth : MoETruth
        With ``return_truth=True`` only.

    Raises
    ------
    ValueError
        When an argument is out of its range, or does not belong to the family.
    """
    n = _check_count("n_samples", n_samples, 1)
    rng = _make_rng(random_state)
    if truth is not None:
        return _sample_from(_check_truth(truth, n), n, rng, return_truth)
    p, K = _check_count("n_features", n_features, 1), _check_count("n_experts", n_experts, 1)
    _check_choice("gate", gate, _GATES)
    _check_choice("expert", expert, [name for name in _STYLES if name != "multinomial"])
    default = _STYLES[expert].noise
    if noise is not None and default is None:
        raise ValueError(f'expert="{expert}" has no noise parameter; leave noise=None.')
    if trials is not None and expert != "binomial":
        raise ValueError(f'trials belong to expert="binomial"; got expert="{expert}".')
    drawn = _draw_truth(
        rng,
        expert,
        gate,
        (K,),
        p,
        _check_columns("gate_features", gate_features, p),
        _check_columns("expert_features", expert_features, p),
        default if noise is None else _check_number("noise", noise, positive=True),
        _check_number("separation", separation, positive=False),
        _check_trials(10 if trials is None else trials, n) if expert == "binomial" else None,
    )
    return _sample_from(drawn, n, rng, return_truth)


def make_moe_classification(
    n_samples: int = 500,
    n_features: int = 2,
    n_experts: int = 3,
    *,
    n_classes: int = 3,
    gate: str = "softmax",
    separation: float = 2.0,
    gate_features: Any = None,
    expert_features: Any = None,
    truth: MoETruth | None = None,
    random_state: Any = None,
    return_truth: bool = False,
) -> tuple[Any, ...]:
    """Classification data from a mixture of softmax regressions whose parameters are known.

    Parameters
    ----------
    n_samples, n_features, n_experts, n_classes : int
        Rows n, columns p, experts K and classes C (at least 2).
    gate, separation, gate_features, expert_features, truth, random_state, return_truth
        As in :func:`make_moe_regression`.

    Returns
    -------
    X : ndarray of shape (n, p)
    y : ndarray of shape (n,), int64
        Classes 0..C-1.
    truth : MoETruth
        With ``return_truth=True`` only; ``coef`` is (K, C, p), ``intercept`` (K, C).

    Raises
    ------
    ValueError
        When an argument is out of its range.
    """
    n = _check_count("n_samples", n_samples, 1)
    rng = _make_rng(random_state)
    if truth is not None:
        return _sample_from(_check_truth(truth, n, classes=True), n, rng, return_truth)
    p, K = _check_count("n_features", n_features, 1), _check_count("n_experts", n_experts, 1)
    C = _check_count("n_classes", n_classes, 2)
    drawn = _draw_truth(
        rng,
        "multinomial",
        _check_choice("gate", gate, _GATES),
        (K, C),
        p,
        _check_columns("gate_features", gate_features, p),
        _check_columns("expert_features", expert_features, p),
        None,
        _check_number("separation", separation, positive=False),
        None,
    )
    return _sample_from(drawn, n, rng, return_truth)


def _check_truth(truth: Any, n: int, *, classes: bool = False) -> MoETruth:
    if not isinstance(truth, MoETruth):
        raise ValueError(f"truth must be a MoETruth; got {type(truth).__name__}.")
    if classes != (truth.expert == "multinomial"):
        other = "make_moe_regression" if classes else "make_moe_classification"
        raise ValueError(f'a truth with expert="{truth.expert}" belongs to {other}.')
    if truth.trials is not None:
        _check_trials(truth.trials, n)
    return truth
