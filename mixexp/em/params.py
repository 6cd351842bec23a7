"""Parameters and statistics as nested NamedTuples of arrays, and what is done to all leaves."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np


class MoEParams(NamedTuple):
    """Parameters of one model, or of a batch with a leading axis."""

    gate: Any
    expert: Any


class Statistics(NamedTuple):
    """Additive statistics of one pass."""

    gate: Any
    expert: Any


class PassResult(NamedTuple):
    """loglik (S,) = sum w log p(y | x), and the statistics with a leading axis S."""

    loglik: np.ndarray
    statistics: Statistics


def tree_map(function, *trees):
    """Apply ``function`` to matching leaves of nested NamedTuples."""
    first = trees[0]
    if type(first) is tuple:
        return tuple(tree_map(function, *leaves) for leaves in zip(*trees, strict=True))
    if isinstance(first, tuple):
        return type(first)(*(tree_map(function, *leaves) for leaves in zip(*trees, strict=True)))
    return function(*trees)


def stack(trees):
    """Batch of single parameter sets (a new leading axis)."""
    return tree_map(lambda *leaves: np.stack(leaves), *trees)


def concatenate(batches):
    """One batch from several."""
    return tree_map(lambda *leaves: np.concatenate(leaves), *batches)


def take(batch, index):
    """One set (integer index) or a sub-batch (array index) of a batch."""
    return tree_map(lambda leaf: leaf[index], batch)


def size(batch) -> int:
    """Number of sets in a batch."""
    leaf = batch
    while isinstance(leaf, tuple):
        leaf = leaf[0]
    return len(leaf)
