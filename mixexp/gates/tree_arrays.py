"""Parameters and statistics of a tree of splits, as arrays over its leaves, and moves of them."""

from __future__ import annotations

import functools
from typing import NamedTuple

import numpy as np

from ..kernels.designs import linear
from ..kernels.reference import log_softmax
from . import trees
from .softmax import SoftmaxStatistics


class HierarchicalParams(NamedTuple):
    """A tree of softmax splits as seen from its leaves.

    coef (K, D, q): at depth d the coefficients of the branch that leads to expert k, centred over
    the branches of the node, zero where the node has one; path (K, D): the leaves' addresses.
    """

    coef: np.ndarray
    path: np.ndarray


class HierarchicalStatistics(NamedTuple):
    """The nodes' local quadratic models, each in the places of the first experts of its branches.

    score (K, D, q); pairs (D, P, q, q) for the pairs of experts; weight () = sum w of all rows.
    """

    score: np.ndarray
    pairs: np.ndarray
    weight: np.ndarray


def below(node, resp):
    """(..., C) sums of the leaves' entries (..., K) below every branch."""
    return np.stack([resp[..., branch].sum(axis=-1) for branch in node.branches], axis=-1)


def splits(nodes, coef, X):
    """(node, (n, S, C) log probabilities of its branches) of the nodes that S sets have alike.

    coef (S, K, D, q).
    """
    if not nodes:
        return
    own = np.concatenate([coef[:, node.heads, node.depth] for node in nodes], axis=1)
    logits = linear(X, own.reshape(-1, own.shape[-1])).reshape(X.shape[0], *own.shape[:2])
    at = 0
    for node in nodes:
        to = at + len(node.branches)
        yield node, log_softmax(logits[..., at:to])
        at = to


def kinds(keys):
    """(row, places) of the distinct rows of an integer array."""
    if len(keys) == 1 or (keys == keys[0]).all():
        return [(keys[0], np.arange(len(keys)))]
    found, which = np.unique(keys, axis=0, return_inverse=True)
    return [(row, np.flatnonzero(np.ravel(which) == i)) for i, row in enumerate(found)]


@functools.lru_cache(maxsize=4096)
def pair_places(node, K):
    """Places of the pairs of branches among those of experts."""
    heads = np.array(node.heads)
    i, j = np.triu_indices(len(heads), 1)
    a, b = np.minimum(heads[i], heads[j]), np.maximum(heads[i], heads[j])
    return a * K - a * (a + 1) // 2 + b - a - 1


def of_node(stats, node, K):
    """A node's statistics as those of a softmax gate; leading axes as they are."""
    return SoftmaxStatistics(
        stats.score[..., node.heads, node.depth, :],
        stats.pairs[..., node.depth, pair_places(node, K), :, :],
        stats.weight,
    )


def set_branches(out, node, coef):
    """Coefficients (S, C, q) of a node's branches to all experts below them."""
    for b, branch in enumerate(node.branches):
        out[:, branch, node.depth] = coef[:, [b]]


def projected(coef, path):
    """Equal over the experts below a branch, centred over the branches of a node."""
    K, D, q = coef.shape[-3:]
    leaves, ways = coef.reshape(-1, K, D, q), path.reshape(-1, K, D)
    out = np.zeros_like(leaves)
    for addresses, sets in kinds(ways.reshape(len(ways), -1)):
        part = out[sets]
        for node in trees.nodes(addresses.reshape(K, D)):
            rows = leaves[sets][:, :, node.depth]
            mean = np.stack([rows[:, branch].mean(axis=1) for branch in node.branches], axis=1)
            set_branches(part, node, mean - mean.mean(axis=1, keepdims=True))
        out[sets] = part
    return out.reshape(coef.shape)


def divided(coef, path, k, share, beside):
    """Leaf k and its copy, the last, apart: below a new node, or beside each other in the old one.

    coef (K + 1, D + 1, q), path (K + 1, D + 1).
    """
    K, D, q = coef.shape
    coef = np.concatenate([coef, np.zeros((K, 1, q))], axis=1)
    path = np.concatenate([path, np.zeros((K, 1), dtype=np.int64)], axis=1)
    d = D
    if beside:
        found = [
            node.depth for node in trees.nodes(path) for b in node.branches if set(b) == {k, K - 1}
        ]
        d = found[-1] if found else 0
    path[K - 1, d] = path[:, d].max() + 1
    coef[K - 1, d, 0] += np.log(share)
    coef[k, d, 0] += np.log1p(-share)
    return projected(coef, path), path


def transferred(coef, path, wanted, order):
    """The same splits with the addresses of the tree ``wanted``: expert order[i] is its leaf i."""
    target = trees.addresses(wanted)
    ways = np.empty_like(target)
    ways[order] = target
    out = np.zeros((*target.shape, coef.shape[-1]))
    old = {frozenset(k for b in node.branches for k in b): node for node in trees.nodes(path)}
    for node in trees.nodes(ways):
        source = old[frozenset(k for b in node.branches for k in b)]
        for branch in node.branches:
            out[list(branch), node.depth] = coef[branch[0], source.depth]
    return HierarchicalParams(out, ways)


def flat(array):
    return array.reshape(*array.shape[:-3], -1)
