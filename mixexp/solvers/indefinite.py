"""Newton steps where the curvature may be indefinite, and where some coordinates have bounds."""

from __future__ import annotations

import numpy as np

SMALLEST = 1e-10  # of a curvature, relative to the largest one after scaling
TINY = 1e-300
ROUNDING = 1e-9
NOTHING = 1e-100  # a curvature that no product of two scales may reach
SWEEPS = 4  # of an equilibration
LONGEST = 1e100  # of a step in one coordinate; its square is a number


def is_convex(gram):
    """(...) bool: no eigenvalue of (..., D, D) is below zero, but for rounding."""
    _, values, _ = _scaled(gram, absolute=False)
    return values[..., 0] >= -ROUNDING * np.abs(values[..., -1])


def convex_part(curvature):
    """Matrices (J, J, ...) with their negative eigenvalues replaced by zeros."""
    J = len(curvature)
    if J == 1:
        return np.maximum(curvature, 0.0)
    if J == 2:
        return _convex_pair(curvature)
    if J == 3:
        return _convex_triple(curvature)
    values, vectors = np.linalg.eigh(np.moveaxis(curvature, (0, 1), (-2, -1)))
    kept = np.einsum("...ab,...b,...cb->...ac", vectors, np.maximum(values, 0.0), vectors)
    return np.moveaxis(kept, (-2, -1), (0, 1))


def _convex_pair(curvature):
    """`convex_part` of 2 x 2 matrices, in closed form."""
    (a, b), (_, c) = curvature
    middle, half = 0.5 * (a + c), 0.5 * (a - c)
    radius = np.hypot(half, b)
    high, low = np.maximum(middle + radius, 0.0), np.maximum(middle - radius, 0.0)
    # f(A) = mean of f over the eigenvalues + (A - middle) times the slope of f between them
    slope = (high - low) / np.where(radius > 0, 2 * radius, 1.0)
    level = 0.5 * (high + low)
    return np.stack(
        [np.stack([level + slope * half, slope * b]), np.stack([slope * b, level - slope * half])]
    )


def _convex_triple(curvature):
    """A convex part of 3 x 3 matrices in closed form: of the matrices with `_equilibrated` rows.

    With f(t) = max(t, 0), f(A) is Newton's interpolation of f at the eigenvalues h >= m >= l:
    f(h) + f[h, m] (A - h) + f[h, m, l] (A - h)(A - m).
    """
    # what the scales do not see must not be divided by them
    curvature = np.where(np.abs(curvature) > NOTHING, curvature, 0.0)
    scale = _equilibrated(np.abs(curvature))
    A = curvature / (scale[:, None] * scale[None])
    high, middle, low = _eigenvalues(A)
    upper, lower = _slope(high, middle), _slope(middle, low)
    width = high - low
    bend = (upper - lower) / np.where(width > 0, width, 1.0)
    eye = np.eye(3).reshape(3, 3, *[1] * (A.ndim - 2))
    first = A - high * eye
    second = np.einsum("ab...,bc...->ac...", first, A - middle * eye)
    kept = np.maximum(high, 0.0) * eye + upper * first + bend * second
    return kept * (scale[:, None] * scale[None])


def _equilibrated(size):
    """(J, ...) scales s with which every row of |A_ij| / (s_i s_j) has a largest entry near one.

    The scales of the predictors cancel, and no small diagonal entry blows up the others.
    """
    scale = np.sqrt(size.max(axis=1))
    scale = np.where(scale > 0, scale, 1.0)
    for _ in range(SWEEPS):
        largest = (size / scale[None]).max(axis=1)
        scale = np.where(largest > 0, np.sqrt(scale * largest), scale)
    return scale


def _slope(high, low):
    """Slope of max(t, 0) between two points."""
    width = np.where(high > low, high - low, 1.0)
    crossing = (np.maximum(high, 0.0) - np.maximum(low, 0.0)) / width
    return np.where(low >= 0, 1.0, np.where(high <= 0, 0.0, crossing))


def _eigenvalues(A):
    """Eigenvalues of symmetric 3 x 3 matrices, the highest first (Smith, 1961, CACM 4, 168)."""
    centre = np.einsum("jj...->...", A) / 3
    eye = np.eye(3).reshape(3, 3, *[1] * (A.ndim - 2))
    B = A - centre * eye
    radius = np.sqrt(np.einsum("ab...,ab...->...", B, B) / 6)
    B = B / np.where(radius > 0, radius, 1.0)
    minor = B[1, 1] * B[2, 2] - B[1, 2] ** 2
    determinant = B[0, 0] * minor - B[0, 1] * (B[0, 1] * B[2, 2] - B[1, 2] * B[0, 2])
    determinant = determinant + B[0, 2] * (B[0, 1] * B[1, 2] - B[1, 1] * B[0, 2])
    angle = np.arccos(np.clip(determinant / 2, -1.0, 1.0)) / 3
    high = centre + 2 * radius * np.cos(angle)
    low = centre + 2 * radius * np.cos(angle + 2 * np.pi / 3)
    return high, 3 * centre - high - low, low


def newton_step(gram, score):
    """The ascent step |gram|^-1 score; an eigenvalue's sign never turns it downhill.

    Nothing moves along directions without curvature, such as those of collinear columns.

    Dauphin et al. (2014), "Identifying and attacking the saddle point problem in high-dimensional
    non-convex optimization", NeurIPS 27.
    """
    scale, values, vectors = _scaled(gram)
    with np.errstate(over="ignore"):  # a pull but next to no curvature: a long step
        pull = np.clip(score / scale, -LONGEST, LONGEST)
        along = np.einsum("...ab,...a->...b", vectors, pull) / values
        along = np.where(np.isfinite(values), along, 0.0)
        step = np.einsum("...ab,...b->...a", vectors, along) / scale
    return np.clip(step, -LONGEST, LONGEST)


def _scaled(gram, absolute=True):
    diagonal = np.abs(np.einsum("...ii->...i", gram))
    largest = diagonal.max(axis=-1, keepdims=True)
    scale = np.sqrt(np.maximum(diagonal, np.maximum(1e-24 * largest, TINY)))
    values, vectors = np.linalg.eigh(gram / (scale[..., :, None] * scale[..., None, :]))
    if not absolute:
        return scale, values, vectors
    values = np.abs(values)
    flat = values <= SMALLEST * values.max(axis=-1, keepdims=True) + TINY
    return scale, np.where(flat, np.inf, values), vectors


def bounded_newton(gram, score, place, low, high, target=None):
    """`newton_step` with bounds on the step at the coordinates ``place``.

    Parameters
    ----------
    gram : (..., D, D)
    score : (..., D)
    place : (J,) int
    low, high : (..., J)
        low <= 0 <= high; a coordinate at its bound stays there while the score pushes outwards.
    target : (..., J) or None
        Steps that are given, NaN elsewhere.

    Returns
    -------
    (..., D) step inside the bounds; the other coordinates move as is best given it.
    """
    at = score[..., place]
    slack = 1e-12
    given = np.zeros(at.shape, dtype=bool) if target is None else ~np.isnan(target)
    target = np.zeros(at.shape) if target is None else np.where(given, target, 0.0)
    held = ((low >= -slack) & (at < 0)) | ((high <= slack) & (at > 0)) | given
    step = with_held(gram, score, place, held, target)
    moved = step[..., place]
    beyond = ~held & ((moved < low) | (moved > high))
    if not beyond.any():
        return step
    target = np.where(beyond, np.clip(moved, low, high), target)
    cut = with_held(gram, score, place, held | beyond, target)
    cut[..., place] = np.where(given, target, np.clip(cut[..., place], low, high))
    # of coordinates that compensate one another the corner of the bounds may lie downhill
    end = np.where(moved > 0, high, low) / np.where(beyond, moved, 1.0)
    shorter = step * np.where(beyond, end, 1.0).min(axis=-1, keepdims=True)
    better = ~given.any(axis=-1) & (_rise(gram, score, shorter) > _rise(gram, score, cut))
    return np.where(better[..., None], shorter, cut)


def _rise(gram, score, step):
    """(...) rise of the quadratic model along a step."""
    with np.errstate(over="ignore", invalid="ignore"):
        bent = np.einsum("...ab,...b->...a", gram, step)
        return ((score - 0.5 * bent) * step).sum(axis=-1)


def with_held(gram, score, place, held, target):
    """The step whose coordinates ``place`` are ``target`` where held (..., J)."""
    if not held.any():
        return newton_step(gram, score)
    mask = np.zeros(score.shape, dtype=bool)
    mask[..., place] = held
    fixed = np.zeros(score.shape)
    fixed[..., place] = np.where(held, target, 0.0)
    left = np.where(mask, 0.0, score - np.einsum("...ab,...b->...a", gram, fixed))
    off = mask[..., :, None] | mask[..., None, :]
    diagonal = np.maximum(np.abs(np.einsum("...ii->...i", gram)), TINY)
    free = np.where(off, np.where(np.eye(gram.shape[-1], dtype=bool), diagonal[..., None], 0), gram)
    return np.where(mask, fixed, newton_step(free, left))
