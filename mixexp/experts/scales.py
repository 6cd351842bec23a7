"""Scales that maximise the Gaussian surrogate under a lower bound and a bound on their ratio."""

from __future__ import annotations

import numpy as np


def bounded_scales(sigma, mass, lowest, ratio):
    """Maximisers of sum_k -mass_k (log s_k + sigma_k^2 / (2 s_k^2)) under the bounds.

    The bounds are ``s_k >= lowest`` and ``s_k >= ratio * max_j s_j``. For a floor t the
    maximiser is clip(sigma, t, t / ratio); the best t is one of 2 K + 1 stationary points
    (Fritz, Garcia-Escudero and Mayo-Iscar, 2013, Computational Statistics 61, 124-136).

    Parameters
    ----------
    sigma, mass : (..., K, m)
        Unbounded maximisers and the experts' weights; m may be 1 for the weights.
    """
    floored = np.maximum(sigma, lowest)
    smallest = np.minimum.reduce(floored, axis=-2)
    if not (smallest < ratio * np.maximum.reduce(floored, axis=-2)).any():
        return floored
    mass = np.broadcast_to(mass, sigma.shape)
    out = np.moveaxis(floored, -2, -1).copy()
    flat, free, weights = (
        array.reshape(-1, out.shape[-1])
        for array in (out, np.moveaxis(sigma, -2, -1), np.moveaxis(mass, -2, -1))
    )
    for i in np.flatnonzero(flat.min(axis=1) < ratio * flat.max(axis=1)):
        flat[i] = _ratio_bounded(free[i], weights[i], lowest, ratio)
    return np.moveaxis(flat.reshape(out.shape), -1, -2)


def _ratio_bounded(sigma, mass, lowest, ratio):
    edges = np.sort(np.concatenate([sigma, sigma * ratio]))
    probes = np.concatenate([[edges[0] / 2], (edges[1:] + edges[:-1]) / 2, [edges[-1] * 2]])
    # between two edges the same scales are raised to the floor, or lowered to floor / ratio
    raised, lowered = sigma < probes[:, None], sigma * ratio > probes[:, None]
    squares = raised @ (mass * sigma**2) + ratio**2 * (lowered @ (mass * sigma**2))
    weight = (raised | lowered) @ mass
    inner = np.sqrt(squares[weight > 0] / weight[weight > 0])
    floors = np.maximum(np.concatenate([edges, inner]), lowest)[:, None]
    clipped = np.clip(sigma, floors, floors / ratio)
    values = -(np.log(clipped) + 0.5 * (sigma / clipped) ** 2) @ mass
    return clipped[int(np.argmax(values))]
