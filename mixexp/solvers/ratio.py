"""Newton steps of experts whose scales bound one another: none lies far below the largest."""

from __future__ import annotations

import numpy as np

from .indefinite import bounded_newton, with_held

HALVINGS = 60


def ratio_bounded_newton(gram, score, place, low, high, value, column, gap):
    """`bounded_newton` where ``value + step`` of K experts at one coordinate stay within a gap.

    The bound is v_k >= max_j v_j - gap for the new values v. For a floor f the best values are
    clip(best_k, f, f + gap) of the experts' own best ones, as for scales in closed form (Fritz,
    Garcia-Escudero and Mayo-Iscar, 2013, Computational Statistics 61, 124-136); the experts'
    other coordinates follow.

    Parameters
    ----------
    gram : (..., K, D, D)
    score : (..., K, D)
    place : (J,) int
    low, high : (..., K, J)
        The experts' own bounds, as for `bounded_newton`.
    value : (..., K)
        Present values of the coordinate ``place[column]``.
    column : int
    gap : float
        Positive; of values that are bounded from above by the smallest, pass them and the step
        with the other sign.

    Returns
    -------
    (..., K, D) step.
    """
    step = bounded_newton(gram, score, place, low, high)
    best = value + step[..., place[column]]
    beyond = best.min(axis=-1) < best.max(axis=-1) - gap
    if not beyond.any():
        return step
    slope, curvature = _profile(gram, score, place, low, high, column)
    floor = _best_floor(value, best, slope, curvature, gap)[..., None]
    chosen = np.clip(best, floor, floor + gap)
    moved = beyond[..., None] & (chosen != best)
    target = np.full(low.shape, np.nan)
    target[..., column] = np.where(moved, chosen - value, np.nan)
    return bounded_newton(gram, score, place, low, high, target)


def _profile(gram, score, place, low, high, column):
    """Slope and curvature of the quadratics in one coordinate, the others at their best."""
    at = score[..., place]
    held = ((low >= -1e-12) & (at < 0)) | ((high <= 1e-12) & (at > 0))
    held[..., column] = True
    slopes = []
    for length in (0.0, 1.0):
        target = np.zeros(at.shape)
        target[..., column] = length
        step = with_held(gram, score, place, held, target)
        left = score - np.einsum("...ab,...b->...a", gram, step)
        slopes.append(left[..., place[column]])
    return slopes[0], np.maximum(slopes[0] - slopes[1], 0.0)


def _best_floor(value, best, slope, curvature, gap):
    """(...) the floor at which the sum of the quadratics of clip(best, floor, floor + gap) peaks.

    Its derivative falls in the floor, from the least best value to the largest less the gap.
    """
    low, high = best.min(axis=-1), best.max(axis=-1) - gap
    low, high = np.minimum(low, high), np.maximum(low, high)
    for _ in range(HALVINGS):
        middle = 0.5 * (low + high)
        chosen = np.clip(best, middle[..., None], middle[..., None] + gap)
        rise = np.where(chosen != best, slope - curvature * (chosen - value), 0.0).sum(axis=-1)
        low, high = np.where(rise > 0, middle, low), np.where(rise > 0, high, middle)
    return 0.5 * (low + high)
