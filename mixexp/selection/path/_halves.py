"""Complementary halves of a sample, as a function of the weighted sample."""

from __future__ import annotations

import numpy as np

from mixexp.em.rows import Rows
from mixexp.selection.folds import Rows as Numbers
from mixexp.selection.folds import distinct_rows

FEWEST = 4  # distinct rows: two for each half


def complementary_halves(
    rows: Rows, n_pairs: int, *, classes: bool, seed: int
) -> list[tuple[Numbers, Numbers]]:
    """Pairs of disjoint halves (Shah and Samworth 2013, section 2).

    Distinct rows are dealt in the order of seeded hashes of their values, so that the order of
    the rows does not matter and equal rows go together. Of an odd number one row is in neither.

    Parameters
    ----------
    rows : Rows
        Those of weight zero are in no half.
    n_pairs : int
    classes : bool
        Deal class by class: both halves have half the rows of every class.
    seed : int

    Returns
    -------
    list of (first, second)
        Row numbers.
    """
    distinct = distinct_rows(rows, classes=classes)
    m = len(distinct.key)
    if m < FEWEST:
        raise ValueError(f"Halves of a sample need at least {FEWEST} distinct rows; got {m}.")
    pairs = []
    for word in np.random.SeedSequence(seed).generate_state(n_pairs, np.uint64):
        half = np.full(m, -1)
        half[distinct.shuffled(int(word))[: m - m % 2]] = np.arange(m - m % 2) % 2
        spread = distinct.spread(half)
        pairs.append((np.flatnonzero(spread == 0), np.flatnonzero(spread == 1)))
    return pairs
