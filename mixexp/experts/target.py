"""What a family may learn from the whole target before a fit."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from ..scaling import moments


class Target:
    """The target of rows in memory, summed up as far as a family asks.

    Parameters
    ----------
    y : (n, m) array
    weight : (n,) array or None
    """

    def __init__(self, y, weight=None):
        self.y, self.weight = y, weight

    def at(self, points) -> Target:
        """That of one value for every row, where ``points`` of the target is another array."""
        return Target(points(self.y), self.weight)

    @property
    def spread(self):
        """(m,) standard deviations; inf where constant."""
        return moments(self.y, self.weight)[1]

    @property
    def log_spread(self):
        """(m,) standard deviations of the logarithms; inf where constant."""
        return moments(np.log(self.y), self.weight)[1]

    @property
    def counts(self):
        """(C,) weights of the classes whose codes y holds."""
        return np.bincount(self.y[:, 0].astype(int), weights=self.weight)

    @property
    def mean(self) -> float:
        """Of all values, whatever their weights."""
        return float(self.y.mean())

    @property
    def largest(self) -> float:
        return float(self.y.max())


class TargetSummary(NamedTuple):
    """The same where rows are elsewhere: what one reading of them has summed up.

    ``log_spread`` and ``counts`` are None where the target has no logarithms or no classes.
    """

    spread: np.ndarray
    log_spread: np.ndarray | None
    counts: np.ndarray | None
    mean: float
    largest: float
    y: None = None
    weight: None = None

    def at(self, points) -> TargetSummary:
        return self
