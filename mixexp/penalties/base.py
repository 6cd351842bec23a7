"""What a penalty is, and what all of them share.

A penalty sees the slopes of the standardised columns as an array (..., J, p): p columns of J
members, the experts of an expert part or the classes of a softmax. Leading axes are batches.
Intercepts never reach it. All strengths are per unit weight: the penalised objective is the mean
log-likelihood less the penalty.
"""

from __future__ import annotations

import numbers
from abc import ABC, abstractmethod
from typing import NamedTuple

import numpy as np
from sklearn.base import clone

from .._component import Component

DUAL_STEPS = 2000  # enough for a few hundred slopes; the certificate tells if it was not
EXCLUDED = 1e100  # stands for a weight of inf, so that strengths and values stay finite


class Majoriser(NamedTuple):
    """``l1 |b| + l2 b^2 / 2``, slope by slope: touches the penalty at a point, lies nowhere below.

    Both arrays have the shape of the slopes or broadcast to it.
    """

    l1: np.ndarray
    l2: np.ndarray


class Penalty(Component, ABC):
    """A function of the slopes that is subtracted from the mean log-likelihood.

    A penalty of one's own needs `value` and `prox`, both accepting any leading axes; see
    "Penalties" in the documentation. `SeparablePenalty` has a faster solver.
    """

    sparse = (
        True  # False for a ridge, a quadratic `SeparablePenalty` that Newton steps take as it is
    )
    separable = False  # True where it has a `SeparablePenalty.majoriser`
    alpha: float

    @abstractmethod
    def value(self, slopes):
        """(...) the penalty of slopes (..., J, p)."""

    @abstractmethod
    def prox(self, slopes, step):
        """(..., J, p) minimiser over u of ``|u - slopes|^2 / 2 + step * value(u)``.

        ``step`` is a positive number or an array (..., 1, 1), one for every problem of a batch.
        """

    @property
    def active(self) -> bool:
        """False where every strength is zero: the fit is then the unpenalised one."""
        return self.strength() > 0

    def strength(self) -> float:
        """``alpha``, checked."""
        return nonnegative(self, "alpha")

    def centred_prox(self, slopes, step):
        """`prox` among slopes that sum to zero over the members, for the classes of a softmax.

        The constraint's multipliers are found by false position, column by column, and where
        the penalty couples columns by ascent of the dual. They are zero where ``prox`` keeps the
        sum by itself, as group penalties over all classes do.
        """
        plain = self.prox(slopes, step)
        size = 1 + np.abs(slopes).max(initial=0)
        if _unbalanced(plain) <= 1e-14 * size:
            return plain
        reach = np.abs(slopes).max(axis=-2, keepdims=True) + np.abs(plain).max()
        low, high = -reach, reach
        above, below = (self._sums(slopes - level, step)[1] for level in (low, high))
        for _ in range(60):
            gap = above - below
            middle = (high * above - low * below) / np.where(gap > 0, gap, 1)
            moved, total = self._sums(slopes - np.where(gap > 0, middle, low), step)
            if np.abs(total).max() <= 1e-14 * size:
                break
            # of Illinois: an end that stays is believed by half
            up = total > 0
            low, high = np.where(up, middle, low), np.where(up, high, middle)
            above, below = np.where(up, total, above / 2), np.where(up, below / 2, total)
        return moved if np.abs(total).max() <= 1e-12 * size else self._dual_ascent(slopes, step)

    def _sums(self, slopes, step):
        moved = self.prox(slopes, step)
        return moved, moved.sum(axis=-2, keepdims=True)

    def _dual_ascent(self, slopes, step):
        """`centred_prox` for any convex penalty, by accelerated steps of the multipliers.

        The sum over J members of the proximal operator is the dual's gradient, which changes by
        at most J times a change of the multipliers.
        """
        level = ahead = np.zeros_like(slopes[..., :1, :])
        momentum, members = 1.0, slopes.shape[-2]
        for _ in range(DUAL_STEPS):
            moved = self.prox(slopes - ahead, step)
            if _unbalanced(moved) <= 1e-13 * (1 + np.abs(slopes).max()):
                break
            new = ahead + moved.sum(axis=-2, keepdims=True) / members
            change = new - level
            if np.sum((ahead - new) * change) > 0:  # the momentum points downhill: start afresh
                momentum, level, ahead = 1.0, new, new
                continue
            following = 0.5 * (1 + np.sqrt(1 + 4 * momentum**2))
            ahead = new + (momentum - 1) / following * change
            level, momentum = new, following
        return moved

    def subgradient(self, slopes, gradient, centred=False):
        """How far the slopes are from stationary, (..., J, p); zero at an optimum.

        Parameters
        ----------
        slopes, gradient : (..., J, p)
            Point, and gradient of the mean log-likelihood there.
        centred : bool
            The slopes sum to zero over the members.

        Returns
        -------
        The proximal gradient step of length one, which is zero at every minimum of a convex
        penalty; a concave one, whose ``prox`` jumps, needs its own. Penalties that know more
        return the smallest element of the subdifferential of the penalised objective.
        """
        prox = self.centred_prox if centred else self.prox
        return prox(slopes + gradient, 1.0) - slopes

    def zero_strength(self, gradient, centred=False) -> float:
        """The smallest ``alpha`` at which all slopes zero is a stationary point.

        Parameters
        ----------
        gradient : (..., J, p)
            Gradient of the mean log-likelihood at zero slopes.
        """
        raise NotImplementedError(f"{type(self).__name__} does not say where its path begins.")

    def take(self, positions):
        """The penalty of some of the columns, in their order."""
        return self

    def free_columns(self, p: int):
        """(p,) bool: columns that the penalty leaves alone, in one member at least."""
        return np.zeros(p, dtype=bool)

    def kept_out(self, p: int):
        """(p,) bool: columns that the penalty holds at zero in all members, at any strength."""
        return np.zeros(p, dtype=bool)

    def together(self, chosen):
        """(p,) bool: the chosen columns and those that enter with them."""
        return chosen

    def check(self, p: int, centred: bool = False) -> None:
        """Raise a ValueError where the penalty does not fit p columns (of a softmax: centred)."""
        self.strength()

    def named(self, names):
        """The penalty with names of columns turned into positions."""
        return self

    def with_strength(self, alpha: float):
        """The same penalty with another ``alpha``."""
        return clone(self).set_params(alpha=alpha)


class SeparablePenalty(Penalty):
    """A sum over slopes, each with its column's weight; solved by coordinate descent.

    Concave penalties are majorised by a weighted absolute value at the current slopes (Zou and
    Li, 2008, Annals of Statistics 36, 1509-1533), so that a step never lowers the objective.
    """

    separable = True
    weights: object = None

    @abstractmethod
    def majoriser(self, slopes) -> Majoriser:
        """The tangent majoriser at slopes (..., J, p)."""

    @abstractmethod
    def slope_value(self, size):
        """Penalty of slopes of absolute value ``size``, element by element, before weights."""

    def value(self, slopes):
        each = self.slope_value(np.abs(slopes)) * self.slope_weights(slopes)
        return each.sum(axis=(-2, -1))

    def slope_weights(self, slopes):
        """`column_weights` in the shape of slopes (..., J, p)."""
        weights = self.column_weights(slopes.shape[-1])
        try:
            return np.full(slopes.shape, weights)  # quicker than `broadcast_to`
        except ValueError:
            raise ValueError(
                f"{type(self).__name__}: weights of shape {weights.shape} do not fit slopes of "
                f"{slopes.shape[-2]} members (experts or classes) and {slopes.shape[-1]} columns. "
                "A search for starts fits fewer experts as well: give labels or a fit as the start."
            ) from None

    def column_weights(self, p: int):
        """(p,) weights of the columns, or (..., J, p) of single slopes.

        0 leaves a slope unpenalised; `EXCLUDED`, in the place of inf, holds it at zero.
        """
        if self.weights is None:
            return np.ones(p)
        if isinstance(self.weights, dict):
            raise ValueError(
                f"{type(self).__name__}(weights=...) by name needs columns with names: fit a frame."
            )
        weights = np.asarray(self.weights, dtype=float)
        if weights.shape[-1:] != (p,) or not np.all(weights >= 0):
            raise ValueError(
                f"{type(self).__name__}: weights must be {p} numbers >= 0, one for each column of "
                "its part, or such a line for each of its members (experts or classes); got an "
                f"array of shape {weights.shape} with minimum {weights.min(initial=np.inf):g}."
            )
        return np.minimum(weights, EXCLUDED)

    def check(self, p, centred=False):
        super().check(p, centred)
        weights = self.column_weights(p)
        if not self.sparse and (weights.ndim > 1 or np.any(weights == EXCLUDED)):
            raise ValueError(
                f"{type(self).__name__} sets no slope to zero: its weights must be {p} finite "
                "numbers, one for each column; use L1 for weights of single slopes or of inf."
            )
        if not self.active and np.any(weights == EXCLUDED):
            raise ValueError(
                f"{type(self).__name__}: weights of inf need alpha > 0; to leave the other slopes "
                "unpenalised, give them a weight of 0."
            )

    def free_columns(self, p):
        weights = self.column_weights(p)
        return (weights == 0).any(axis=tuple(range(weights.ndim - 1)))

    def kept_out(self, p):
        weights = self.column_weights(p)
        return (weights == EXCLUDED).all(axis=tuple(range(weights.ndim - 1)))

    def named(self, names):
        if not isinstance(self.weights, dict):
            return self
        own = [str(name) for name in names]
        unknown = [name for name in self.weights if name not in own]
        if unknown:
            raise ValueError(
                f"{type(self).__name__}: weights name the columns {unknown!r}; there are {own!r}."
            )
        weights = np.array([float(self.weights.get(name, 1.0)) for name in own])
        return clone(self).set_params(weights=weights)

    def take(self, positions):
        if self.weights is None:
            return self
        weights = np.asarray(self.weights, dtype=float)[..., positions]
        return clone(self).set_params(weights=weights)

    def subgradient(self, slopes, gradient, centred=False):
        l1, l2 = self.majoriser(slopes)
        smooth = gradient - l2 * slopes
        low = np.where(slopes != 0, smooth - l1 * np.sign(slopes), smooth - l1)
        high = np.where(slopes != 0, low, smooth + l1)
        level = 0.0
        if centred:
            # one multiplier a column must lie in the intervals of all classes
            level = 0.5 * (low.max(axis=-2, keepdims=True) + high.min(axis=-2, keepdims=True))
            free = np.broadcast_to(l1, slopes.shape).max(axis=-2, keepdims=True) == 0
            level = np.where(free, smooth.mean(axis=-2, keepdims=True), level)
        return np.maximum(low - level, 0) + np.minimum(high - level, 0)

    def zero_strength(self, gradient, centred=False):
        size = np.abs(gradient)
        weights = self.slope_weights(gradient)
        if centred:
            # every two members' intervals g +- alpha w must meet, for one multiplier to lie in all
            size = gradient[..., :, None, :] - gradient[..., None, :, :]
            weights = weights[..., :, None, :] + weights[..., None, :, :]
        penalised = weights > 0
        largest = float((size[penalised] / weights[penalised]).max(initial=0.0))
        share = self.l1_share()
        return largest / share if share > 0 else (np.inf if largest > 0 else 0.0)

    def l1_share(self) -> float:
        """Slope of the penalty at zero, for ``alpha`` = 1 and a column of weight one."""
        return 1.0


def is_active(penalty: Penalty | None) -> bool:
    """Whether there is a penalty of positive strength."""
    if penalty is None:
        return False
    if not isinstance(penalty, Penalty):
        raise TypeError(
            f"penalty must be None or a penalty such as L1(0.1) or L2(0.1); got {penalty!r}."
        )
    return penalty.active


def is_sparse(penalty: Penalty | None) -> bool:
    """Whether there is a penalty that may set slopes to zero: any but a ridge."""
    return is_active(penalty) and not is_ridge(penalty)


def is_ridge(penalty) -> bool:
    """Whether a penalty is quadratic in the slopes."""
    return penalty.separable and not penalty.sparse


def _unbalanced(slopes):
    """Largest sum over the members of any column."""
    return np.abs(slopes.sum(axis=-2)).max(initial=0)


def nonnegative(penalty, name: str) -> float:
    """A parameter that must be a finite number >= 0."""
    value = getattr(penalty, name)
    # every M-step asks: the abstract type is the slow question
    number = type(value) is float or (
        isinstance(value, numbers.Real) and not isinstance(value, bool)
    )
    if not number or not 0 <= float(value) < np.inf:
        raise ValueError(
            f"{type(penalty).__name__} needs a finite {name} >= 0; got {name}={value!r}."
        )
    return float(value)


def above(penalty, name: str, least: float) -> float:
    """A parameter that must be a finite number greater than ``least``."""
    value = nonnegative(penalty, name)
    if not value > least:
        raise ValueError(f"{type(penalty).__name__} needs {name} > {least:g}; got {value!r}.")
    return value


def soft(values, threshold):
    """Soft thresholding."""
    return np.sign(values) * np.maximum(np.abs(values) - threshold, 0)
