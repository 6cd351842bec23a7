"""Nodes and weights of expectations under the standard normal law of a few dimensions."""

from __future__ import annotations

import functools
import itertools

import numpy as np
from scipy import special, stats

PER_DIMENSION = {1: 21, 2: 11, 3: 7, 4: 5}  # nodes of a product rule; beyond, points of a net
NET = 512


@functools.cache
def product_rule(dimension: int, count: int):
    """Gauss-Hermite product rule: nodes (Q, dimension) and weights (Q,), which sum to one."""
    x, w = special.roots_hermitenorm(count)
    w = w / w.sum()
    nodes = np.array(list(itertools.product(x, repeat=dimension))).reshape(-1, dimension)
    weights = np.array([np.prod(part) for part in itertools.product(w, repeat=dimension)])
    return nodes, weights


@functools.cache
def rule(dimension: int):
    """A rule for smooth functions of so many normal variables.

    Beyond four dimensions a scrambled Sobol net with its mirror images (Owen, 1997): the same one
    in every call.
    """
    if dimension == 0:
        return np.zeros((1, 0)), np.ones(1)
    if dimension in PER_DIMENSION:
        return product_rule(dimension, PER_DIMENSION[dimension])
    net = stats.qmc.Sobol(dimension, seed=0).random(NET // 2)
    half = special.ndtri(np.clip(net, 1e-12, 1 - 1e-12))
    nodes = np.concatenate([half, -half])
    nodes /= np.sqrt((nodes**2).mean(axis=0))
    return nodes, np.full(len(nodes), 1 / len(nodes))


def roots(V):
    """Lower triangular C with C C' = V of (n, J, J) semi-definite matrices, pivots of zero kept."""
    J = V.shape[1]
    C = np.zeros_like(V)
    for j in range(J):
        left = V[:, j:, j] - np.einsum("nia,na->ni", C[:, j:, :j], C[:, j, :j])
        pivot = np.sqrt(np.maximum(left[:, 0], 0.0))
        small = pivot <= 1e-10
        C[:, j:, j] = np.where(small[:, None], 0.0, left / np.where(small, 1.0, pivot)[:, None])
        C[:, j, j] = np.where(small, 0.0, pivot)
    return C
