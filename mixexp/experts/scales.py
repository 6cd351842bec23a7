"""Scales that maximise the Gaussian surrogate under a lower bound and a bound on their ratio."""

from __future__ import annotations

import numpy as np


def bounded_scales(sigma, mass, lowest, ratio, pull=0.0):
    """Maximisers of sum_k -mass_k log s_k - pull_k / s_k - squares_k / (2 s_k^2) under the bounds.

    ``squares`` is what makes ``sigma`` the maximiser without bounds: mass sigma^2 - pull sigma.
    The bounds are ``s_k >= lowest`` and ``s_k >= ratio * max_j s_j``. For a floor t the
    maximiser is clip(sigma, t, t / ratio); the best t is one of 2 K + 1 stationary points
    (Fritz, Garcia-Escudero and Mayo-Iscar, 2013, Computational Statistics 61, 124-136).

    Parameters
    ----------
    sigma, mass : (..., K, m)
        Unbounded maximisers and the experts' weights; m may be 1 for the weights.
    pull : (..., K, m) array or 0
        Of a penalty on slopes over scales.
    """
    floored = np.maximum(sigma, lowest)
    smallest = np.minimum.reduce(floored, axis=-2)
    if not (smallest < ratio * np.maximum.reduce(floored, axis=-2)).any():
        return floored
    out = np.moveaxis(floored, -2, -1).copy()
    flat, free, weights, pulls = (
        np.moveaxis(array, -2, -1).reshape(-1, out.shape[-1])
        for array in (floored, *np.broadcast_arrays(sigma, mass, pull))
    )
    for i in np.flatnonzero(flat.min(axis=1) < ratio * flat.max(axis=1)):
        flat[i] = _ratio_bounded(free[i], weights[i], pulls[i], lowest, ratio)
    return np.moveaxis(flat.reshape(out.shape), -1, -2)


def _ratio_bounded(sigma, mass, pull, lowest, ratio):
    squares = mass * sigma**2 - pull * sigma
    edges = np.sort(np.concatenate([sigma, sigma * ratio]))
    probes = np.concatenate([[edges[0] / 2], (edges[1:] + edges[:-1]) / 2, [edges[-1] * 2]])
    # between two edges the same scales are raised to the floor, or lowered to floor / ratio
    raised, lowered = sigma < probes[:, None], sigma * ratio > probes[:, None]
    weight = (raised | lowered) @ mass
    raised, lowered, weight = raised[weight > 0], lowered[weight > 0], weight[weight > 0]
    linear = raised @ pull + ratio * (lowered @ pull)
    constant = raised @ squares + ratio**2 * (lowered @ squares)
    inner = (linear + np.sqrt(linear**2 + 4 * weight * constant)) / (2 * weight)
    floors = np.maximum(np.concatenate([edges, inner]), lowest)[:, None]
    clipped = np.clip(sigma, floors, floors / ratio)
    values = -np.log(clipped) @ mass - (1 / clipped) @ pull - (0.5 / clipped**2) @ squares
    return clipped[int(np.argmax(values))]
