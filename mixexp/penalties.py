"""Penalties: each lives on the part whose M-step it enters and acts on standardised columns."""

from __future__ import annotations

import functools
import numbers

import numpy as np

from ._component import PENALTIES, Component, register


@register(PENALTIES, "l2")
class L2(Component):
    """Ridge penalty ``alpha / 2 * sum of squared slopes``, per unit weight.

    The penalised objective is the mean log-likelihood per unit weight less the penalty, so a
    strength means the same at any number of rows. Slopes are those of the standardised columns;
    intercepts are free. On a gate the slopes are centred over the classes, so that the labels
    of the classes do not matter.

    Parameters
    ----------
    alpha : float, default=1e-3
        Strength, at least 0.
    """

    def __init__(self, alpha=1e-3):
        self.alpha = alpha

    def curvature(self) -> float:
        """Second derivative with respect to a slope."""
        number = isinstance(self.alpha, numbers.Real) and not isinstance(self.alpha, bool)
        if not number or not 0 <= float(self.alpha) < np.inf:
            raise ValueError(f"L2 needs a finite alpha >= 0; got alpha={self.alpha!r}.")
        return float(self.alpha)


def curvature(penalty: L2 | None) -> float:
    """The ridge strength of an optional penalty."""
    if penalty is None:
        return 0.0
    if not isinstance(penalty, L2):
        raise TypeError(f"penalty must be None or L2(alpha); got {penalty!r}.")
    return penalty.curvature()


@functools.lru_cache(maxsize=128)
def strengths(q: int, slope: float, intercept: float = 0.0):
    """(q,) ridge strength of every coefficient, intercept first; shared and read-only."""
    vector = np.full(q, slope)
    vector[0] = intercept
    vector.setflags(write=False)
    return vector
