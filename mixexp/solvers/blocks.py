"""Block structures of covariances: nested partitions of the responses, and paths through them.

Thresholding the absolute residual correlations joins responses into blocks; falling thresholds
give nested partitions, those of single linkage (Devijver and Gallopin, 2018, "Block-diagonal
covariance selection for high-dimensional Gaussian graphical models", JASA 113, 306-314).
"""

from __future__ import annotations

import numpy as np
from scipy.cluster.hierarchy import fcluster, linkage
from scipy.spatial.distance import squareform

Partition = list[list[int]]


def nested_partitions(covariance) -> list[Partition]:
    """Partitions of 0..d-1 by all thresholds on |correlation|, from the finest to the coarsest."""
    d = len(covariance)
    finest = [[j] for j in range(d)]
    if d == 1:
        return [finest]
    spread = np.sqrt(np.maximum(np.diagonal(covariance), 1e-300))
    distance = 1 - np.clip(np.abs(covariance / np.outer(spread, spread)), 0, 1)
    np.fill_diagonal(distance, 0)
    tree = linkage(squareform(0.5 * (distance + distance.T), checks=False), "single")
    cuts = (fcluster(tree, height, "distance") for height in np.unique(tree[:, 2]))
    return [finest, *(_blocks(labels) for labels in cuts)]


def structure_candidates(covariances, mass) -> list[list[Partition]]:
    """Partitions for all K experts together, from the finest on, without repetitions.

    Two paths are joined: the one of a penalty that falls (every expert then has the partition that
    maximises its own likelihood less the penalty times its parameters), and the experts' nested
    partitions taken level by level. Partitions with a block of more responses than the expert has
    rows are left out.

    Parameters
    ----------
    covariances : (K, d, d) residual covariances without a structure
    mass : (K,) effective rows
    """
    nested = [
        [p for p in nested_partitions(c) if max(map(len, p)) < m] or nested_partitions(c)[:1]
        for c, m in zip(covariances, mass, strict=True)
    ]
    longest = max(map(len, nested))
    levels = [[path[min(i, len(path) - 1)] for path in nested] for i in range(longest)]
    found = {
        tuple(map(_key, one)): one for one in [*levels, *_penalty_path(nested, covariances, mass)]
    }
    return sorted(found.values(), key=_n_parameters)


def _penalty_path(nested, covariances, mass):
    """The structures that are optimal for some penalty per parameter."""
    sizes = [np.array([_size(p) for p in path]) for path in nested]
    losses = [
        np.array([0.5 * m * _log_det(c, p) for p in path])
        for path, c, m in zip(nested, covariances, mass, strict=True)
    ]
    changes = np.unique(np.concatenate([_breakpoints(*pair) for pair in zip(sizes, losses)]))
    edges = np.concatenate([[0.0], changes, [2 * changes.max(initial=1.0)]])
    out = []
    for penalty in 0.5 * (edges[1:] + edges[:-1]):
        best = [int(np.argmin(f + penalty * s)) for s, f in zip(sizes, losses, strict=True)]
        out.append([path[i] for path, i in zip(nested, best, strict=True)])
    return out


def _breakpoints(size, loss):
    """Penalties at which the minimiser of ``loss + penalty * size`` changes."""
    penalty, at = 0.0, int(np.argmin(loss))
    out: list[float] = []
    while True:
        smaller = np.flatnonzero(size < size[at])
        if len(smaller) == 0:
            return np.array(out)
        crossing = (loss[smaller] - loss[at]) / (size[at] - size[smaller])
        penalty = max(float(crossing.min()), penalty)
        out.append(penalty)
        at = int(smaller[np.argmin(crossing)])


def _log_det(covariance, partition) -> float:
    blocks = (np.linalg.slogdet(covariance[np.ix_(block, block)]) for block in partition)
    return float(sum(value if sign > 0 else -np.inf for sign, value in blocks))


def _size(partition) -> int:
    return sum(len(block) * (len(block) + 1) // 2 for block in partition)


def _n_parameters(structure) -> int:
    return sum(map(_size, structure))


def _blocks(labels) -> Partition:
    """Lists of positions, in the order of their first."""
    groups: dict[int, list[int]] = {}
    for position, label in enumerate(labels):
        groups.setdefault(int(label), []).append(position)
    return list(groups.values())


def _key(partition):
    return tuple(map(tuple, partition))
