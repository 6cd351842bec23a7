"""Newton steps where the curvature may be indefinite, and where some coordinates have bounds."""

from __future__ import annotations

import numpy as np

SMALLEST = 1e-10  # of a curvature, relative to the largest one after scaling
TINY = 1e-300


def newton_step(gram, score):
    """The ascent step |gram|^-1 score; an eigenvalue's sign never turns it downhill.

    Dauphin et al. (2014), "Identifying and attacking the saddle point problem in high-dimensional
    non-convex optimization", NeurIPS 27.
    """
    scale, values, vectors = _scaled(gram)
    along = np.einsum("...ab,...a->...b", vectors, score / scale) / values
    return np.einsum("...ab,...b->...a", vectors, along) / scale


def _scaled(gram):
    diagonal = np.abs(np.einsum("...ii->...i", gram))
    largest = diagonal.max(axis=-1, keepdims=True)
    scale = np.sqrt(np.maximum(diagonal, np.maximum(1e-24 * largest, TINY)))
    values, vectors = np.linalg.eigh(gram / (scale[..., :, None] * scale[..., None, :]))
    values = np.abs(values)
    return scale, np.maximum(values, SMALLEST * values.max(axis=-1, keepdims=True) + TINY), vectors


def bounded_newton(gram, score, place, low, high):
    """`newton_step` with bounds on the step at the coordinates ``place``.

    Parameters
    ----------
    gram : (..., D, D)
    score : (..., D)
    place : (J,) int
    low, high : (..., J)
        low <= 0 <= high; a coordinate at its bound stays there while the score pushes outwards.

    Returns
    -------
    (..., D) step inside the bounds; the other coordinates move as is best given it.
    """
    at = score[..., place]
    slack = 1e-12
    held = ((low >= -slack) & (at < 0)) | ((high <= slack) & (at > 0))
    step = _with_held(gram, score, place, held, np.zeros_like(at))
    moved = step[..., place]
    beyond = ~held & ((moved < low) | (moved > high))
    if beyond.any():
        target = np.where(beyond, np.clip(moved, low, high), 0.0)
        step = _with_held(gram, score, place, held | beyond, target)
        step[..., place] = np.clip(step[..., place], low, high)
    return step


def _with_held(gram, score, place, held, target):
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
