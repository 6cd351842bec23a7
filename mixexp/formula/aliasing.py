"""Columns of a design that are linear combinations of the columns before them."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pandas as pd

TOLERANCE = 1e-7  # of a column's norm, as in R's lm
AGREEMENT = 1e-6  # of the largest value, in new rows


class Aliasing(NamedTuple):
    """Columns that others determine, and how.

    Attributes
    ----------
    names : tuple of str
        The columns left out.
    relation : ndarray of shape (1 + q, len(names))
        They are these combinations of a constant and the q columns that are kept.
    size : ndarray of shape (len(names),)
        Largest absolute value of each in the training rows; 1 for a column of zeros.
    gap : ndarray of shape (len(names),)
        Largest departure from the relation in the training rows, which hold it to a tolerance.
    """

    names: tuple[str, ...] = ()
    relation: np.ndarray = np.empty((0, 0))
    size: np.ndarray = np.empty(0)
    gap: np.ndarray = np.empty(0)

    def check(self, design: pd.DataFrame) -> None:
        """Refuse rows in which the relation does not hold: nothing is known of them.

        Raises
        ------
        ValueError
            Such as for a level that has no training rows.
        """
        if not self.names:
            return
        left_out = design[list(self.names)].to_numpy()
        kept = design.drop(columns=list(self.names)).to_numpy()
        slack = np.maximum(AGREEMENT * np.maximum(self.size, np.abs(left_out)), 2 * self.gap)
        off = _departures(kept, left_out, self.relation) > slack
        if off.any():
            j = int(off.any(axis=0).argmax())
            rows = int(off[:, j].sum())
            verb = "does" if rows == 1 else "do"
            raise ValueError(
                f"formula: {self.names[j]} was left out of the fit, since other columns determine "
                f"it in the training rows, and {rows} of the new rows {verb} not follow: there is "
                "no estimate for them. Leave them out, or fit with such rows."
            )


NOTHING_ALIASED = Aliasing()


def aliasing(design: pd.DataFrame, weight: np.ndarray | None = None) -> Aliasing:
    """The columns that a constant and the columns before them span, by rows of positive weight."""
    values = design.to_numpy() if weight is None else design.to_numpy()[weight > 0]
    dropped = _spanned(values)
    if not dropped:
        return NOTHING_ALIASED
    kept = np.delete(values, dropped, axis=1)
    left_out = values[:, dropped]
    scale = np.abs(kept).max(axis=0)
    basis = np.column_stack([np.ones(len(values)), kept / scale])
    relation = np.linalg.lstsq(basis, left_out, rcond=None)[0]
    relation[1:] /= scale[:, None]
    size = np.abs(left_out).max(axis=0)
    names = tuple(str(design.columns[j]) for j in dropped)
    gap = _departures(kept, left_out, relation).max(axis=0)
    return Aliasing(names, relation, np.where(size > 0, size, 1.0), gap)


def _departures(kept: np.ndarray, left_out: np.ndarray, relation: np.ndarray) -> np.ndarray:
    return np.abs(left_out - relation[0] - kept @ relation[1:])


def _spanned(values: np.ndarray) -> list[int]:
    """Positions of the columns that those before them and a constant span."""
    centred = values - values.mean(axis=0)
    norm = np.sqrt((centred**2).sum(axis=0))
    size = np.sqrt((values**2).sum(axis=0))
    dropped = [int(j) for j in np.flatnonzero(norm <= 1e-12 * size)]
    while True:
        kept = [j for j in range(values.shape[1]) if j not in dropped]
        diagonal = np.abs(np.diag(np.linalg.qr(centred[:, kept] / norm[kept], mode="r")))
        short = [*np.flatnonzero(diagonal < TOLERANCE), *range(len(diagonal), len(kept))]
        if not short:
            return sorted(dropped)
        dropped.append(kept[int(short[0])])
