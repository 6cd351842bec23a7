"""Columns of a design that are linear combinations of the columns before them."""

from __future__ import annotations

import numpy as np

TOLERANCE = 1e-7  # of a column's norm, as in R's lm


def aliased(X: np.ndarray, weight: np.ndarray | None = None) -> list[int]:
    """Positions of columns that a constant and the columns before them already span.

    Parameters
    ----------
    X : ndarray of shape (n, p)
    weight : ndarray of shape (n,) or None
        Rows of weight zero do not count.
    """
    used = X if weight is None else X[weight > 0]
    centred = used - used.mean(axis=0)
    norm = np.sqrt((centred**2).sum(axis=0))
    size = np.sqrt((used**2).sum(axis=0))
    dropped = [int(j) for j in np.flatnonzero(norm <= 1e-12 * size)]
    while True:
        kept = [j for j in range(X.shape[1]) if j not in dropped]
        scaled = centred[:, kept] / norm[kept]
        diagonal = np.abs(np.diag(np.linalg.qr(scaled, mode="r")))
        short = [*np.flatnonzero(diagonal < TOLERANCE), *range(len(diagonal), len(kept))]
        if not short:
            return sorted(dropped)
        dropped.append(kept[int(short[0])])
