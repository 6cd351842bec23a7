"""`BlockRows`: what stands for `Rows` where the rows are elsewhere, in blocks of a source.

Whatever a fit asks of all rows is a sum over blocks. Searches for starts run in memory on a keyed
sample, which is that of the same rows in memory.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any

import numpy as np

from ..scaling import ColumnSummary
from ..sources import Block, BlockSource, PlacedError, Source, read_ahead
from .checkpoint import fingerprint
from .rows import Rows, design_gram
from .starts.keys import hash_rows, keyed_uniform
from .starts.table import (
    FEW_ROWS,
    Table,
    canonical_table,
    compact,
    count_distinct,
    priority_sample,
    table_matrix,
)
from .survey import Survey, Surveyor, copied, joined, merged_keys
from .threads import single_threaded_blas

AGAIN = "Fit again when nothing writes to them; an iterable must give the same blocks each time."
SPARE = 2  # times the size of a sample is kept on the way, where rows may be repeated


class BlockRows:
    """Rows of a source.

    Parameters
    ----------
    source : Source
    prepare : callable
        From a `Block` to checked `Rows` of positive weight. It can be pickled.
    classifies : bool
        Whether the target holds codes of classes.
    counts : bool, default=True
        Whether distinct rows are counted; without, no table can be made.
    columns : int array
        The columns of X, ascending, whose products the survey sums for `design_gram`.

    Attributes
    ----------
    n : int
        Rows of positive weight.
    survey : Survey
    """

    y = weight = prior = group = X = None
    first = slice(None)

    def __init__(
        self, source: Source, prepare: Any, classifies: bool, counts: bool = True, columns=()
    ):
        self.source, self.prepare, self.classifies = source, prepare, classifies
        self.n: int | None = None
        survey = self.reduce(Surveyor(classifies, counts, columns), Survey.merged)
        self.survey, self.n = survey, survey.n
        self._tables: dict[tuple[int, int], Table] = {}

    def reduce(self, function: Callable[[Rows], Any], merge: Callable[[Any, Any], Any]) -> Any:
        """``function`` of the rows of every block, merged in order; blocks without rows left out.

        Raises
        ------
        ValueError
            With the place of a block that cannot be used, or where the rows have changed.
        """
        n, value = self.source.reduce(Prepared(self.prepare, function), Merge(merge))
        if n == 0:
            raise ValueError("The data have no rows of positive weight: there is nothing to fit.")
        if self.n not in (None, n):
            raise ValueError(
                f"The data changed during the fit: {self.n} rows of positive weight at first, and "
                f"{n} now. {AGAIN}"
            )
        return value

    def each(self):
        """The rows of every block, in order, of a source whose blocks come one after the other."""
        assert isinstance(self.source, BlockSource)  # the estimators refuse others
        one = Prepared(self.prepare, _itself)
        return (rows for _, rows in map(one, read_ahead(self.source)) if rows is not None)

    def summed(self, function):
        """``function(rows)`` summed over the blocks."""
        return self.reduce(Summed(function), np.add)

    def mapped(self, function) -> BlockRows:
        """``function(rows)``: rows of other columns, made block by block."""
        return BlockRows(self.source, Then(self.prepare, function), self.classifies, counts=False)

    @property
    def p(self) -> int:
        return len(self.survey.x.mean)

    @property
    def m(self) -> int:
        return len(self.survey.y.mean)

    @property
    def n_units(self) -> int:
        return self.survey.n

    n_positive = n_units

    @property
    def weighted(self) -> bool:
        return self.survey.weight != self.survey.n

    @property
    def total_weight(self) -> float:
        return float(self.survey.weight)

    @property
    def counted_units(self) -> float:
        return max(self.total_weight, float(self.survey.n))

    counted_rows = counted_units

    @property
    def example(self) -> Rows:
        return self.survey.head

    @property
    def target(self):
        return self.survey.target()

    @property
    def unit_X(self) -> ColumnSummary:
        return ColumnSummary(self.survey.x, self.survey.head.X, self.survey.n)

    def x_moments(self):
        return self.survey.x.mean_and_scale()

    def y_moments(self):
        return self.survey.left.mean_and_scale()

    def _replace(self, **parts):
        """Itself: what rows in memory may replace, these do not have."""
        assert all(part is None for part in parts.values())
        return self

    def table(self, table_size: int, seed: int) -> Table:
        """The canonical table; see `canonical_table`."""
        known = self._tables.get((table_size, seed))
        if known is None:
            known = self._tables[table_size, seed] = self._new_table(table_size, seed)
        return known

    def _new_table(self, table_size, seed):
        units, total = self.counted_units, None
        key, weight = self.survey.distinct
        if key is None:
            sample = self.reduce(Sampler(SPARE * table_size + 1, seed), Sampler.merge)
            key, weight, total = sample[0], sample[1], self.total_weight
        if len(key) <= table_size:  # also of a sample: it then kept all
            return Table(self._table_rows(key, weight), key, True, units, units)
        keep, sampled = priority_sample(weight, keyed_uniform(key, seed), table_size, total)
        size = min(units, float(table_size))
        return Table(self._table_rows(key[keep], sampled), key[keep], False, size, size)

    def _table_rows(self, key, weight) -> Rows:
        rows = self.gathered(key)
        return rows._replace(X=table_matrix(rows.X), weight=weight)

    def gathered(self, key) -> Rows:
        """The first rows of these hashes (sorted), in their order."""
        found, rows = self.reduce(Gatherer(key), Gatherer.merge)
        if not np.array_equal(found, key):
            raise ValueError(f"The data changed during the fit: some rows are others now. {AGAIN}")
        return rows


class Prepared:
    """The function of a source's blocks that prepares their rows and applies another to them.

    With the rows' number; errors name the place of the block.
    """

    def __init__(self, prepare, function):
        self.prepare, self.function = prepare, function

    def __call__(self, block: Block):
        if not len(block.X):
            return 0, None
        try:
            with single_threaded_blas():  # where the block is
                rows = self.prepare(block)
                return rows.n, self.function(rows) if rows.n else None
        except PlacedError:
            raise
        except ValueError as error:
            raise PlacedError(f"{block.place}: {error}") from error


class Merge:
    """The merging of what `Prepared` gives."""

    def __init__(self, merge):
        self.merge = merge

    def __call__(self, left, right):
        n = left[0] + right[0]
        if not left[0] or not right[0]:
            return n, right[1] if right[0] else left[1]
        return n, self.merge(left[1], right[1])


def _itself(rows):
    return rows


class Summed:
    """The function of blocks that sums another over small parts: temporary arrays stay small."""

    def __init__(self, function):
        self.function = function

    def __call__(self, rows: Rows):
        return rows.summed(self.function)


class Then:
    """One function after another."""

    def __init__(self, first, second):
        self.first, self.second = first, second

    def __call__(self, value):
        return self.second(self.first(value))


class Gatherer:
    """The function of blocks that finds the rows of some hashes."""

    def __init__(self, key):
        self.key = key

    def __call__(self, rows: Rows):
        own = hash_rows(rows)
        wanted = self.key[np.minimum(np.searchsorted(self.key, own), len(self.key) - 1)] == own
        place = np.flatnonzero(wanted)
        key, first = np.unique(own[place], return_index=True)
        return key, copied(rows.take(place[first]))

    @staticmethod
    def merge(left, right):
        key, first = np.unique(np.concatenate([left[0], right[0]]), return_index=True)
        return key, joined([left[1], right[1]]).take(first)


class Sampler:
    """The function of blocks that keeps the rows of the highest priorities, as hashes and weights.

    Of rows that are all distinct these are the rows of a priority sample. The weights of repeated
    ones add up as long as they are kept.
    """

    def __init__(self, size: int, seed: int):
        self.size, self.seed = size, seed

    def __call__(self, rows: Rows):
        weight = np.ones(rows.n) if rows.weight is None else rows.weight
        return self._kept(hash_rows(rows), weight, self.size, self.seed)

    @staticmethod
    def _kept(key, weight, size, seed):
        key, weight = merged_keys(key, weight, np.inf)
        if len(key) > size:
            priority = weight / keyed_uniform(key, seed)
            keep = np.sort(np.argpartition(-priority, size)[:size])
            key, weight = key[keep], weight[keep]
        return key, weight, size, seed

    @staticmethod
    def merge(left, right):
        key, weight = (np.concatenate([left[i], right[i]]) for i in (0, 1))
        return Sampler._kept(key, weight, *left[2:])


@canonical_table.register
def _(rows: BlockRows, table_size: int, seed: int) -> Table:
    return rows.table(table_size, seed)


@design_gram.register
def _(rows: BlockRows, columns, scaling):
    known = rows.survey.products
    if known is None or not np.isin(columns, known.columns).all():
        return design_gram.dispatch(object)(rows, columns, scaling)  # by a reading
    return known.gram(columns, scaling)


@count_distinct.register
def _(rows: BlockRows, enough: int) -> int:
    key = rows.survey.distinct.key
    return min(rows.n or 0, enough) if key is None else min(len(key), enough)


@compact.register
def _(rows: BlockRows):
    key, weight = rows.survey.distinct
    if key is None or weight is None or len(key) >= FEW_ROWS:
        return rows
    return rows.gathered(key)._replace(weight=weight)


@fingerprint.register
def _(rows: BlockRows, description: str) -> str:
    digest = hashlib.sha256(description.encode())
    digest.update(rows.source.identity().encode())
    survey = rows.survey
    for part in (*survey.x, *survey.y, *survey.left, survey.n, survey.weight):
        digest.update(np.asarray(part, dtype=np.float64).tobytes())
    digest.update(f"keys {survey.keys}".encode())  # moments know neither pairs nor trials
    return digest.hexdigest()
