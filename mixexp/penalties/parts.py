"""Penalties as parts of a model use them: ridges, and penalties of some or named columns."""

from __future__ import annotations

import numpy as np
from sklearn.base import clone

from .base import Penalty, is_active, is_ridge

SMALLEST_RIDGE = 1e-16
MANY_ROWS = 14363  # distinct rows from which on `vanishing_ridge` is the smallest


def ridge(penalty: Penalty | None, q: int, everywhere: float = 0.0, intercept: float = 0.0):
    """(q,) second derivatives of a quadratic penalty, the intercept first.

    ``everywhere`` is added to all slopes, ``intercept`` to the intercept.
    """
    strengths = np.full(q, everywhere)
    strengths[0] = intercept
    if is_active(penalty) and is_ridge(penalty):
        strengths[1:] += penalty.majoriser(np.zeros((1, q - 1))).l2[0]  # type: ignore[union-attr]
    return strengths


def vanishing_ridge(n_distinct: int) -> float:
    """Strength, per unit weight, of a ridge that only keeps the slopes of a separation finite.

    Where a threshold divides n rows, a slope S leaves about n / S of them undecided, and a ridge r
    charges n r S^2 / 2: at the best slope both together cost of the order of n r^(1/3) of
    log-likelihood, which ``(15 n)^-3`` keeps below 0.05. Bounded by what rounding lets a fit
    notice, and for few rows by 1e-7. The rows that count are the distinct ones: a ridge per unit
    weight must depend neither on repetitions nor on the scale of the weights.
    """
    return float(np.clip((15.0 * n_distinct) ** -3.0, SMALLEST_RIDGE, 1e-7))


def with_checked_penalty(part, names):
    """The part with its penalty checked against its columns, and names in it made positions.

    Raises
    ------
    TypeError, ValueError
        Where the penalty is none, or does not fit columns of these names.
    """
    penalty = getattr(part, "penalty", None)
    if penalty is None:
        return part
    is_active(penalty)  # raises where it is no penalty
    named = penalty.named(names)
    named.check(len(names), part.centres_slopes)
    return part if named is penalty else clone(part).set_params(penalty=named)


def with_penalty_of(part, positions):
    """The part as it is with some of its columns alone."""
    penalty = getattr(part, "penalty", None)
    if penalty is None:
        return part
    return clone(part).set_params(penalty=penalty.take(positions))
