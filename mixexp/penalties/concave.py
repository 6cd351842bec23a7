"""Concave penalties of single slopes: large slopes are (almost) not shrunk."""

from __future__ import annotations

import numpy as np

from .._component import PENALTIES, register
from .base import Majoriser, SeparablePenalty, above, soft


class _Concave(SeparablePenalty):
    """Shared by MCP and SCAD: the tangent majoriser is a weighted absolute value."""

    def slope(self, size):
        """Derivative at slopes of absolute value ``size``, before weights."""
        raise NotImplementedError

    def majoriser(self, slopes):
        l1 = self.slope(np.abs(slopes)) * self.slope_weights(slopes)
        return Majoriser(l1, np.zeros(slopes.shape))

    def prox(self, slopes, step):
        """The best of the stationary points of the one-dimensional problem, by its value."""
        size = np.abs(slopes)
        weights = step * self.slope_weights(slopes)
        candidates = self._stationary(size, weights)
        values = [0.5 * (u - size) ** 2 + weights * self.slope_value(u) for u in candidates]
        best = np.argmin(values, axis=0)
        return np.sign(slopes) * np.take_along_axis(np.array(candidates), best[None], 0)[0]

    def _stationary(self, size, weights):
        raise NotImplementedError


@register(PENALTIES, "mcp")
class MCP(_Concave):
    """Minimax concave penalty (Zhang, 2010, Annals of Statistics 38, 894-942), per unit weight.

    ``alpha |b| - b^2 / (2 gamma)`` up to ``|b| = gamma * alpha``, constant beyond.

    Parameters
    ----------
    alpha : float, default=0.1
        Slope of the penalty at zero.
    gamma : float, default=3.0
        Above 1. Large values approach `L1`; small ones leave large slopes alone sooner.
    weights : None, (p,) or (J, p) array, or dict
        As for `L1`; they multiply the whole penalty of a slope.
    """

    def __init__(self, alpha=0.1, gamma=3.0, weights=None):
        self.alpha = alpha
        self.gamma = gamma
        self.weights = weights

    def slope_value(self, size):
        alpha, gamma = self.strength(), above(self, "gamma", 1)
        inner = np.minimum(size, gamma * alpha)
        return alpha * inner - inner**2 / (2 * gamma)

    def slope(self, size):
        return np.maximum(self.strength() - size / above(self, "gamma", 1), 0)

    def _stationary(self, size, weights):
        alpha, gamma = self.strength(), above(self, "gamma", 1)
        room = 1 - weights / gamma
        inner = soft(size, weights * alpha) / np.where(room > 0, room, 1.0)
        inside = (room > 0) & (inner <= gamma * alpha)
        return [np.where(inside, inner, 0.0), np.maximum(size, gamma * alpha), 0 * size]


@register(PENALTIES, "scad")
class SCAD(_Concave):
    """Smoothly clipped absolute deviation (Fan and Li, 2001, JASA 96, 1348-1360).

    Slope ``alpha`` up to ``|b| = alpha``, then falling to zero at ``gamma * alpha``.

    Parameters
    ----------
    alpha : float, default=0.1
    gamma : float, default=3.7
        Above 2.
    weights : None, (p,) or (J, p) array, or dict
        As for `L1`; they multiply the whole penalty of a slope.
    """

    def __init__(self, alpha=0.1, gamma=3.7, weights=None):
        self.alpha = alpha
        self.gamma = gamma
        self.weights = weights

    def slope_value(self, size):
        alpha, gamma = self.strength(), above(self, "gamma", 2)
        middle = np.clip(size, alpha, gamma * alpha)
        quadratic = (2 * gamma * alpha * middle - middle**2 - alpha**2) / (2 * (gamma - 1))
        return np.where(size <= alpha, alpha * size, quadratic)

    def slope(self, size):
        alpha, gamma = self.strength(), above(self, "gamma", 2)
        return np.where(size <= alpha, alpha, np.maximum(gamma * alpha - size, 0) / (gamma - 1))

    def _stationary(self, size, weights):
        alpha, gamma = self.strength(), above(self, "gamma", 2)
        first = np.minimum(soft(size, weights * alpha), alpha)
        room = 1 - weights / (gamma - 1)
        second = (size - weights * gamma * alpha / (gamma - 1)) / np.where(room > 0, room, 1.0)
        second = np.where(room > 0, np.clip(second, alpha, gamma * alpha), alpha)
        return [first, second, np.maximum(size, gamma * alpha), 0 * size]
