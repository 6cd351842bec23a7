"""Straight lines through the last points of a curve, for every number of points at once."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
ROWS = 32  # regressions advanced together: their arrays stay in the cache
BISQUARE, HUBER = 4.685, 1.345  # 95 % efficiency at the normal distribution
NORMAL_MAD = 0.6745  # median absolute deviation of the standard normal distribution


class Lines(NamedTuple):
    """intercepts, slopes (S,): line i is fitted to the points i, i + 1, ..., M - 1."""

    intercepts: Floats
    slopes: Floats
    converged: NDArray[np.bool_]


class Stopping(NamedTuple):
    """When reweighting ends: relative change of the residuals, iterations, and what counts as 0.

    ``exact`` is the scale of the residuals, relative to the range of y, below which a line passes
    through its points and is left as it is.
    """

    tol: float
    max_iter: int
    exact: float


CONVERGED = Stopping(1e-9, 1000, 1e-13)
CAPUSHE = Stopping(1e-4, 20, 0.0)  # MASS::rlm as capushe 1.1.3 calls it


def suffix_lines(x: Floats, y: Floats, weights: str, least: int, stopping: Stopping) -> Lines:
    """Regressions of y on x over the points i..M-1, for i = 0..M - least.

    Robust ones are M-estimates by iteratively reweighted least squares from the ordinary fit; the
    scale is the median absolute residual, taken anew in every iteration (Huber 1981, section 7.8).

    Parameters
    ----------
    x, y : ndarray of shape (M,)
        x increases.
    weights : {"bisquare", "huber", "ols"}
    least : int
        Points of the shortest regression, at least 2.
    stopping : Stopping
    """
    starts = np.arange(len(x) - least + 1)
    parts = [
        _block(x, y, starts[first : first + ROWS], weights, stopping)
        for first in range(0, len(starts), ROWS)
    ]
    return Lines(*(np.concatenate(values) for values in zip(*parts, strict=True)))


def _block(x: Floats, y: Floats, starts: NDArray[np.intp], weights: str, stop: Stopping) -> Lines:
    """The regressions that begin at ``starts``, on the points from the first start on."""
    first = starts[0]
    points = _Points(x[first:], y[first:])
    mask = np.arange(len(points.x)) >= (starts - first)[:, None]
    intercepts, slopes = points.fit(mask.astype(float))
    active = np.ones(len(starts), dtype=bool)
    if weights != "ols":
        residuals = points.residuals(intercepts, slopes, mask)
        zero = stop.exact * np.ptp(y)
        for _ in range(stop.max_iter):
            rows = np.flatnonzero(active)
            scale = _scales(residuals[rows], mask[rows])
            active[rows[scale <= zero]] = False
            rows, scale = rows[scale > zero], scale[scale > zero]
            if not len(rows):
                break
            old = residuals[rows]
            weight = _weights(old, scale, weights) * mask[rows]
            intercepts[rows], slopes[rows] = points.fit(weight)
            new = points.residuals(intercepts[rows], slopes[rows], mask[rows])
            residuals[rows] = new
            active[rows] = _relative_change(old, new) > stop.tol
    else:
        active[:] = False
    return Lines(*points.on_given_scale(intercepts, slopes), ~active)


class _Points:
    """Points centred and scaled once, so that sums of products lose no digits."""

    def __init__(self, x: Floats, y: Floats) -> None:
        self.centre, self.origin = x.mean(), y.mean()
        self.width = max(np.ptp(x), 1e-300)
        self.x, self.y = (x - self.centre) / self.width, y - self.origin
        self.products = np.column_stack(
            [np.ones(len(x)), self.x, self.y, self.x * self.x, self.x * self.y]
        )

    def fit(self, weight: Floats) -> tuple[Floats, Floats]:
        """Weighted least squares of every row of weights (B, W)."""
        total, sx, sy, sxx, sxy = (weight @ self.products).T
        slopes = (total * sxy - sx * sy) / (total * sxx - sx * sx)
        return (sy - slopes * sx) / total, slopes

    def residuals(self, intercepts: Floats, slopes: Floats, mask: NDArray[np.bool_]) -> Floats:
        """(B, W), zero outside the mask."""
        return (self.y - intercepts[:, None] - slopes[:, None] * self.x) * mask

    def on_given_scale(self, intercepts: Floats, slopes: Floats) -> tuple[Floats, Floats]:
        slopes = slopes / self.width
        return intercepts + self.origin - slopes * self.centre, slopes


def _scales(residuals: Floats, mask: NDArray[np.bool_]) -> Floats:
    """Median absolute residual over 0.6745, of the points inside the mask."""
    ordered = np.sort(np.where(mask, np.abs(residuals), np.inf), axis=1)
    count, rows = mask.sum(axis=1), np.arange(len(mask))
    return 0.5 * (ordered[rows, (count - 1) // 2] + ordered[rows, count // 2]) / NORMAL_MAD


def _weights(residuals: Floats, scale: Floats, weights: str) -> Floats:
    size = np.abs(residuals) / scale[:, None]
    if weights == "huber":
        return HUBER / np.maximum(size, HUBER)
    return (1.0 - np.minimum(1.0, size / BISQUARE) ** 2) ** 2


def _relative_change(old: Floats, new: Floats) -> Floats:
    change = ((old - new) ** 2).sum(axis=1)
    return np.sqrt(change / np.maximum(1e-20, (old**2).sum(axis=1)))
