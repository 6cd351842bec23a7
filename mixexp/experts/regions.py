"""Regions in which targets lie: their probabilities under a family, and derivatives of these."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from ..kernels.links import IMPOSSIBLE, LINKS
from ..kernels.rows import RowUnit

LEAST = 1e-300  # probability


class Region(NamedTuple):
    """Where the target of a row lies: between the ends, or outside them. Arrays (n, 1)."""

    lower: np.ndarray
    upper: np.ndarray
    outside: bool = False

    def take(self, rows):
        return Region(self.lower[rows], self.upper[rows], self.outside)


def representative(y):
    """(n, 1) what was seen, or the middle of a bounded interval, or its only end."""
    if y.shape[1] == 1:
        return y
    lower, upper = y[:, 0], y[:, 1]
    with np.errstate(invalid="ignore"):
        value = np.where(lower == upper, lower, 0.5 * (lower + upper))
    value = np.where(np.isneginf(lower), upper, np.where(np.isposinf(upper), lower, value))
    return value[:, None]


def is_truncated(y):
    """(n,) bool: the row is in the data only because its target lies in an interval."""
    return np.isfinite(y[:, 2]) | np.isfinite(y[:, 3])


def of_rows(eta, rows):
    """Predictors of some rows; those of parameters without columns are every row's."""
    return [e if e.shape[0] == 1 and len(rows) != 1 else e[rows] for e in eta]


def log_probability(family, eta, region: Region, trials):
    """(n, K) log probability of a region, from the tail in which it lies."""
    links = [LINKS[parameter.link] for parameter in family.parameters]
    theta = [link.mean(e) for link, e in zip(links, eta, strict=True)]
    probability = (_outside if region.outside else _inside)(family, theta, region, trials)
    return np.where(probability > LEAST, np.log(np.maximum(probability, LEAST)), IMPOSSIBLE)


def _outside(family, theta, region, trials):
    low, high = np.isfinite(region.lower), np.isfinite(region.upper)
    below = family.cdf_of(np.where(low, region.lower, 0.0), theta, trials)
    above = family.survival_of(np.where(high, region.upper, 0.0), theta, trials)
    return np.where(low, below, 0.0) + np.where(high, above, 0.0)


def _inside(family, theta, region, trials):
    """Of (l, u]: a difference of distribution functions, or of survival functions in that tail."""
    shape = np.broadcast_shapes(region.lower.shape, *(np.shape(t) for t in theta))
    out = np.empty(shape)
    left, right = np.isneginf(region.lower[:, 0]), np.isposinf(region.upper[:, 0])
    both = ~left & ~right
    for rows, function, ends in (
        (left & ~right, family.cdf_of, region.upper),
        (right & ~left, family.survival_of, region.lower),
    ):
        if rows.any():
            out[rows] = function(ends[rows], of_rows(theta, rows), _of(trials, rows))
    out[left & right] = 1.0
    if both.any():
        own, m = of_rows(theta, both), _of(trials, both)
        lower, upper = region.lower[both], region.upper[both]
        below, until = family.cdf_of(lower, own, m), family.cdf_of(upper, own, m)
        far = below > 0.5
        inside = until - below
        if far.any():
            tail = family.survival_of(lower, own, m) - family.survival_of(upper, own, m)
            inside = np.where(far, tail, inside)
        out[both] = inside
    return out


def _of(values, rows):
    return None if values is None else values[rows]


def differences(value, eta, steps):
    """Value, first and second derivatives of a function of J predictors, by central differences.

    Of fourth order, but the mixed second derivatives, which are of second order.
    """
    J = len(eta)

    def at(*moves):
        moved = list(eta)
        for j, share in moves:
            moved[j] = moved[j] + share * steps[j]
        return value(moved)

    centre = at()
    score, hessian = np.empty((J, *centre.shape)), np.empty((J, J, *centre.shape))
    for j in range(J):
        up, down, far_up, far_down = (at((j, share)) for share in (1, -1, 2, -2))
        score[j] = (8 * (up - down) - (far_up - far_down)) / (12 * steps[j])
        bend = 16 * (up + down) - (far_up + far_down) - 30 * centre
        hessian[j, j] = bend / (12 * steps[j] ** 2)
        for l in range(j):
            corners = at((j, 1), (l, 1)) - at((j, 1), (l, -1))
            corners = corners - at((j, -1), (l, 1)) + at((j, -1), (l, -1))
            hessian[j, l] = hessian[l, j] = corners / (4 * steps[j] * steps[l])
    return centre, score, hessian


def where_possible(value, score, hessian) -> RowUnit:
    """Nothing of a row whose value or derivatives are out of range."""
    possible = np.isfinite(value) & (value > IMPOSSIBLE)
    possible = possible & np.isfinite(score).all(0) & np.isfinite(hessian).all((0, 1))
    return RowUnit(
        np.where(np.isfinite(value), value, IMPOSSIBLE),
        np.where(possible, score, 0.0),
        np.where(possible, hessian, 0.0),
    )
