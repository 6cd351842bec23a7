"""Starts over many columns: rows divided by shallow regression trees, columns chosen inside.

A tree with one leaf for every expert divides the rows by few columns out of thousands, which is
what a sparse gate does. Inside each leaf the columns that go along with the target are the likely
ones of its expert.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from sklearn.tree import DecisionTreeRegressor

from ...scaling import blocks, design
from ..rows import Rows

TREES = 12
PER_LEAF = 6  # columns chosen in every leaf, and for the gate
CERTAINTY = 0.9  # responsibility of a row's own leaf
ENTRIES = 1 << 22  # of a standardised block of all columns
SHARE = 0.25  # least share of a leaf, of an equal share


class TreeStart(NamedTuple):
    """Responsibilities (n, K), and the columns that seem to matter for gate and experts."""

    responsibilities: np.ndarray
    gate: np.ndarray
    expert: np.ndarray


def tree_starts(model, rows: Rows, target, seed: int) -> list[TreeStart]:
    """Different divisions of the rows, from the greedy tree to trees that see few columns.

    Parameters
    ----------
    target : (n, m) what the trees divide by: responses, class indicators
    """
    weight = np.ones(rows.n) if rows.weight is None else rows.weight
    rng = np.random.default_rng(seed)
    seen, starts = set(), []
    for t in range(TREES):
        tree = DecisionTreeRegressor(
            max_leaf_nodes=model.K,
            min_weight_fraction_leaf=SHARE / model.K,
            max_features=1.0 if t == 0 else float(rng.choice([0.5, 0.2, 0.05])),
            random_state=int(rng.integers(2**31 - 1)),
        )
        leaves = tree.fit(rows.X, target, sample_weight=weight).apply(rows.X)
        labels = np.unique(leaves, return_inverse=True)[1]
        key = labels.tobytes()
        if labels.max() + 1 == model.K and key not in seen:
            seen.add(key)
            starts.append(_start(model, rows, target, weight, labels))
    return starts


def _start(model, rows, target, weight, labels) -> TreeStart:
    K = model.K
    own = np.eye(K)[labels]
    resp = CERTAINTY * own + (1 - CERTAINTY) / K
    expert = np.zeros(len(model.expert_columns), dtype=bool)
    for k in range(K):
        inside = weight * own[:, k]
        residual = inside[:, None] * (target - inside @ target / inside.sum())
        expert |= _largest(products(rows, model.expert_columns, model.scaling, residual))
    apart = weight[:, None] * (own - weight @ own / weight.sum())
    gate = _largest(products(rows, model.gate_columns, model.scaling, apart))
    return TreeStart(resp, gate, expert)


def _largest(sums):
    """(p,) mask of the columns with the largest sums (p, J) in any of the J."""
    mask = np.zeros(len(sums), dtype=bool)
    mask[np.argsort(-np.abs(sums).max(axis=1), kind="stable")[:PER_LEAF]] = True
    return mask


def products(rows: Rows, columns, scaling, values):
    """(p, J) sums over the rows of standardised columns times values (n, J), block by block."""
    total = np.zeros((1 + len(columns), values.shape[1]))
    for block in blocks(rows.n, max(16, ENTRIES // max(1, len(columns)))):
        total += design(rows.X[block], columns, scaling).T @ values[block]
    return total[1:]
