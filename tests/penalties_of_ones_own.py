"""Penalties as a user would write them: a value and a proximal operator, no more."""

from __future__ import annotations

import numpy as np

from mixexp import Penalty


class Log(Penalty):
    """alpha * sum log(1 + |b|): large slopes are shrunk less; convex enough up to alpha = 1."""

    def __init__(self, alpha=0.1):
        self.alpha = alpha

    def value(self, slopes):
        return self.alpha * np.log1p(np.abs(slopes)).sum(axis=(-2, -1))

    def prox(self, slopes, step):
        # stationary points of (u - s)^2 / 2 + t log(1 + u): the larger root of a quadratic
        size, threshold = np.abs(slopes), step * self.alpha
        root = np.sqrt(np.maximum((size + 1) ** 2 - 4 * threshold, 0))
        u = np.maximum(0.5 * (size - 1 + root), 0)
        gain = 0.5 * size**2 - 0.5 * (u - size) ** 2 - threshold * np.log1p(u)
        return np.sign(slopes) * np.where(gain > 0, u, 0.0)


class Largest(Penalty):
    """alpha * sum over columns of the largest absolute slope: a column enters for all experts."""

    def __init__(self, alpha=0.1):
        self.alpha = alpha

    def value(self, slopes):
        return self.alpha * np.abs(slopes).max(axis=-2, initial=0).sum(axis=-1)

    def prox(self, slopes, step):
        # Moreau: what is left of the slopes outside the ball of 1-norm step * alpha
        ordered = -np.sort(-np.abs(slopes), axis=-2)
        rank = np.arange(1, slopes.shape[-2] + 1)[:, None]
        level = (np.cumsum(ordered, axis=-2) - step * self.alpha) / rank
        level = np.maximum(level.max(axis=-2, keepdims=True), 0)
        return np.clip(slopes, -level, level)


class FusedExperts(Penalty):
    """alpha * sum over columns of |b_1 - b_2|: two experts share the slopes that may be shared."""

    def __init__(self, alpha=0.1):
        self.alpha = alpha

    def value(self, slopes):
        return self.alpha * np.abs(slopes[..., 0, :] - slopes[..., 1, :]).sum(axis=-1)

    def prox(self, slopes, step):
        half = 0.5 * (slopes[..., :1, :] - slopes[..., 1:, :])
        moved = np.sign(half) * np.maximum(np.abs(half) - step * self.alpha, 0)
        middle = slopes.mean(axis=-2, keepdims=True)
        return middle + np.concatenate([moved, -moved], axis=-2)


class FusedColumns(Penalty):
    """alpha * sum over members of |b_1 - b_2|: two columns that would be one."""

    def __init__(self, alpha=0.1):
        self.alpha = alpha

    def value(self, slopes):
        return self.alpha * np.abs(slopes[..., 0] - slopes[..., 1]).sum(axis=-1)

    def prox(self, slopes, step):
        half = 0.5 * (slopes[..., :1] - slopes[..., 1:])
        moved = np.sign(half) * np.maximum(np.abs(half) - step * self.alpha, 0)
        middle = slopes.mean(axis=-1, keepdims=True)
        return middle + np.concatenate([moved, -moved], axis=-1)
