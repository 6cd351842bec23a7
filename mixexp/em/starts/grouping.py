"""Groups as the units of a canonical table: what distinct rows are where every row is a unit.

The hash of a group is that of the collection of its rows' hashes, whatever their order and the
group's label; equal groups are merged and their weights added.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from ..rows import Rows
from .keys import hash_rows, keyed_uniform, mix

LONGEST = 20  # rows of a group that a sample keeps at least, where it has as many
LEAST = 50  # groups of a sample, at least


class Units(NamedTuple):
    """Groups of rows, one after the other.

    place (n,): positions of their rows; length, weight, key (m,): of the groups.
    """

    place: np.ndarray
    length: np.ndarray
    weight: np.ndarray
    key: np.ndarray

    @property
    def first(self) -> np.ndarray:
        """(m,) places of the groups' first rows in ``place``."""
        return np.cumsum(self.length) - self.length

    def take(self, chosen) -> Units:
        """Some of the groups, in the given order."""
        length = self.length[chosen]
        within = np.arange(length.sum()) - np.repeat(np.cumsum(length) - length, length)
        place = self.place[np.repeat(self.first[chosen], length) + within]
        return Units(place, length, self.weight[chosen], self.key[chosen])

    def of(self, rows: Rows) -> Rows:
        """The groups' rows, the groups numbered as they stand."""
        codes = np.repeat(np.arange(len(self.length)), self.length)
        weight = np.repeat(self.weight, self.length)
        return rows.take(self.place)._replace(weight=weight, group=codes)


def distinct_groups(rows: Rows) -> Units:
    """The distinct groups of positive weight in the order of their hashes, rows likewise."""
    units = _groups(rows)
    order, start = _equal(units)
    weight = np.add.reduceat(units.weight[order], start)
    return units.take(order[start])._replace(weight=weight)


def equal_groups(rows: Rows):
    """The groups of positive weight by their hashes, and the places where equal ones begin."""
    return _equal(_groups(rows))


def _groups(rows) -> Units:
    """The groups in their order, the rows of each in the order of their hashes."""
    row_key, place = hash_rows(rows), rows.spread(np.arange(rows.n_units))
    index = np.lexsort((row_key, place))
    key = mix(np.add.reduceat(mix(row_key[index]), rows.first))
    length = np.diff(np.r_[rows.first, rows.n])
    return Units(index, length, rows.unit_weight, key)


def _equal(units):
    order = np.lexsort((units.weight, units.key))
    order = order[units.weight[order] > 0]
    key = units.key[order]
    return order, np.flatnonzero(np.r_[True, key[1:] != key[:-1]])


def fewer_rows(units: Units, rows: Rows, size: int, seed: int) -> tuple[Units, int]:
    """Long groups shortened at random, and how many groups then make about ``size`` rows.

    A part of a group's rows follows the same model, so that a search may do with it.
    """
    longest = max(LONGEST, size // len(units.length))
    if units.length.max() > longest:
        place = np.repeat(np.arange(len(units.length)), units.length)
        uniform = keyed_uniform(hash_rows(rows.take(units.place)), seed)
        order = np.lexsort((uniform, place))
        rank = np.empty(len(order), dtype=int)
        rank[order] = np.arange(len(order)) - np.repeat(units.first, units.length)
        kept = rank < longest
        units = units._replace(place=units.place[kept], length=np.minimum(units.length, longest))
    count = max(int(size / units.length.mean()), LEAST)
    return units, min(count, len(units.length))
