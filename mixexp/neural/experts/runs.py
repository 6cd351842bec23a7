"""Runs of experts whose products are made in one call, and where their rows stand."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor

from ..routing import Routing
from ..routing.select import count

# In half precision oneDNN compiles a kernel for every new shape, which costs more than the product,
# and a call costs as much as some 2^21 multiplications. So numbers of rows are rounded up to this
# multiple, large ones to a 16th of the next power of two, and neighbouring experts share a call
# where the rows that make them equal cost less than their calls. Few lengths make few shapes.
HALF_ROWS = 32
CALL = 2**21
RUN_LENGTHS = (8, 2, 1)


class Pairs(NamedTuple):
    """N pairs sorted by expert: the part of a `Routing` that the experts need.

    Parameters
    ----------
    unit : LongTensor of shape (N,)
    by_unit : LongTensor of shape (N,)
        Positions of the pairs in the order of units.
    start : LongTensor of shape (T,)
        Where each unit begins in that order.
    counts : list of int
        Pairs of each expert.
    """

    unit: Tensor
    by_unit: Tensor
    start: Tensor
    counts: list[int]


def pairs_of(routing: Routing) -> Pairs:
    """The pairs of a routing without slots."""
    n_choices = count(routing.unit, routing.n_units)
    start = torch.cumsum(n_choices, 0).sub_(n_choices)
    return Pairs(routing.unit, routing.units_order(), start, routing.counts.tolist())


class Run(NamedTuple):
    """``n`` experts from ``first`` on, with the same number of rows each."""

    first: int
    n: int
    rows: int


class Layout:
    """The rows that are computed: those of the pairs, run by run, and rows that fill runs up.

    Rows that fill up are the expert's own last row again, so that they are as finite as what it
    has; their weight is zero.

    Parameters
    ----------
    pairs : Pairs
    half : bool
        Whether rows are in half precision; in others each expert is a run, and nothing is filled.
    size : int
        Multiplications of one row with one matrix of an expert; 0 for experts of unequal widths.

    Attributes
    ----------
    runs : list of Run
    sizes : list of int
        Rows of each run.
    unit : LongTensor
        The unit of each row.
    by_unit : LongTensor of shape (N,)
        Rows of the pairs in the order of units.
    place : LongTensor of shape (N,) or None
        The row of each pair; None where rows are pairs.
    """

    def __init__(self, pairs: Pairs, half: bool, size: int):
        self.runs = _half_runs(pairs.counts, size) if half else _single_runs(pairs.counts)
        self.sizes = [run.n * run.rows for run in self.runs]
        self.n_rows = sum(self.sizes)
        self.largest = max(self.sizes, default=0)
        self.unit, self.by_unit = pairs.unit, pairs.by_unit
        self.place: Tensor | None = None
        if self.n_rows > len(pairs.unit):
            self._fill(pairs)

    def _fill(self, pairs: Pairs) -> None:
        given: dict[str, Any] = {"dtype": torch.int64, "device": pairs.unit.device}
        rows, counts = torch.zeros(len(pairs.counts), **given), torch.tensor(pairs.counts, **given)
        for run in self.runs:
            rows[run.first : run.first + run.n] = run.rows
        end, ahead = counts.cumsum(0), (rows - counts).cumsum(0) - (rows - counts)
        place = torch.arange(len(pairs.unit), **given)
        place += torch.repeat_interleave(ahead, counts, output_size=len(pairs.unit))
        pair = torch.arange(self.n_rows, **given)
        pair -= torch.repeat_interleave(ahead, rows, output_size=self.n_rows)
        last = torch.repeat_interleave(end - 1, rows, output_size=self.n_rows)
        self.unit, self.by_unit = pairs.unit[torch.minimum(pair, last)], place[pairs.by_unit]
        self.place = place

    def of_rows(self, of_pairs: Tensor) -> Tensor:
        """Values of pairs as values of rows, zero where rows fill up."""
        if self.place is None:
            return of_pairs
        return of_pairs.new_zeros(self.n_rows).index_copy_(0, self.place, of_pairs)

    def of_pairs(self, of_rows: Tensor) -> Tensor:
        """Values of the pairs among those of rows."""
        return of_rows if self.place is None else of_rows[self.place]

    def cut(self, rows: Tensor) -> list[Tensor]:
        """What each run has of a tensor with all rows, shapes (n, rows, ...)."""
        parts = zip(rows.split(self.sizes), self.runs)
        return [part.view(run.n, run.rows, *part.shape[1:]) for part, run in parts]

    def cut_flat(self, flat: Tensor, widths: list[int]) -> list[Tensor]:
        """The same of all rows' numbers in a row, for a width a run."""
        numbers = [size * width for size, width in zip(self.sizes, widths)]
        parts = zip(flat.split(numbers), self.runs, widths)
        return [part.view(run.n, run.rows, width) for part, run, width in parts]


def _single_runs(counts: list[int]) -> list[Run]:
    return [Run(expert, 1, n) for expert, n in enumerate(counts) if n]


def _half_runs(counts: list[int], size: int) -> list[Run]:
    """From the first expert on the longest runs that pay."""
    rounded = [_rounded(n) for n in counts]
    lengths = RUN_LENGTHS if size else (1,)
    runs, first = [], 0
    while first < len(counts):
        n = next(n for n in lengths if n == 1 or _pays(rounded[first : first + n], n, size))
        if rounded[first]:
            runs.append(Run(first, n, max(rounded[first : first + n])))
        first += n
    return runs


def _pays(rows: list[int], n: int, size: int) -> bool:
    """Whether n experts, all of them with rows, cost less in one call than in n."""
    if len(rows) < n or not min(rows):
        return False
    return (n * max(rows) - sum(rows)) * size <= (n - 1) * CALL


def _rounded(n: int) -> int:
    multiple = max(HALF_ROWS, 2 ** max(n - 1, 0).bit_length() // 16)
    return -(-n // multiple) * multiple
