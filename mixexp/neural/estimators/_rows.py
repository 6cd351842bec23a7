"""Training rows in a form that depends on the weighted sample alone."""

from __future__ import annotations

import numpy as np

_MIX = np.uint64(0x9E3779B97F4A7C15)


def distinct_rows(parts: list[np.ndarray], weight: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Index of one row of each kind and their summed weights, in an order of the values alone.

    Rows without weight are left out. A weight of 2 and the row twice, and any order of the rows,
    give the same arrays to the last bit.

    Parameters
    ----------
    parts : list of ndarrays of shape (n, ...)
        Numbers that make up a row.
    weight : ndarray of shape (n,)
    """
    kept = np.flatnonzero(weight > 0)
    # adding 0 turns -0 into 0
    columns = [np.asarray(part, np.float64).reshape(len(weight), -1)[kept] + 0.0 for part in parts]
    rows = np.ascontiguousarray(np.concatenate(columns, axis=1)).view(np.uint64)
    code = _hashes(rows)
    # equal rows are neighbours; among them the order is that of the weights, so that sums do not
    # depend on the order of the rows
    order = np.lexsort((weight[kept], code))
    rows = rows[order]
    new = np.ones(len(order), dtype=bool)
    new[1:] = (rows[1:] != rows[:-1]).any(axis=1)
    group = np.cumsum(new) - 1
    summed = np.bincount(group, weights=weight[kept][order])
    return kept[order[new]], summed


def _hashes(rows: np.ndarray) -> np.ndarray:
    """(n,) unsigned integers that equal rows share and others in all likelihood do not."""
    code = np.zeros(len(rows), dtype=np.uint64)
    for column in rows.T:
        code ^= column
        code *= _MIX
        code ^= code >> np.uint64(29)
    return code


def held_out(n: int, fraction: float, seed: int, classes: np.ndarray | None) -> np.ndarray:
    """Mask of the rows for validation; of every class the same share where classes are given.

    Raises
    ------
    ValueError
        With fewer than two rows.
    """
    if n < 2:
        raise ValueError(
            f"early stopping needs at least 2 distinct rows; got n_samples={n}. Use "
            "Training(early_stopping=False)."
        )
    rng = np.random.default_rng(seed)
    order = rng.permutation(n)
    groups = [order]
    if classes is not None:
        groups = [order[classes[order] == c] for c in np.unique(classes)]
    # of small classes one row or none goes: whole numbers of a running total, not of each class
    chosen, due = [], 0.0
    for group in groups:
        due += fraction * len(group)
        take = min(round(due), len(group) - 1)
        chosen.append(group[:take])
        due -= take
    mask = np.zeros(n, dtype=bool)
    mask[np.concatenate(chosen)] = True
    if not mask.any():
        mask[order[0]] = True
    return mask
