"""What a source of blocks of rows is: data that need not fit into memory."""

from __future__ import annotations

import functools
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import numpy as np

ROW_INPUTS = ("weight", "offset", "exposure", "trials")


class Block(NamedTuple):
    """Some neighbouring rows, as the source has them: numbers unchecked, labels as they are.

    Attributes
    ----------
    X : (n, p) float32 or float64 array
    y : (n,) or (n, m) array, or None
        Numbers, or labels of classes.
    weight, offset, exposure, trials : (n,) arrays or None
    place : str
        Where the block stands, for messages: a file and its row group, or the rows' numbers.
    parts : tuple of (int, str, int)
        First rows and places of the parts that the block is put together from, and how many rows
        of the place come before them.
    """

    X: np.ndarray
    y: np.ndarray | None
    weight: np.ndarray | None = None
    offset: np.ndarray | None = None
    exposure: np.ndarray | None = None
    trials: np.ndarray | None = None
    place: str = ""
    parts: tuple[tuple[int, str, int], ...] = ()

    def place_of(self, row: int) -> str:
        """Where a row of the block stands."""
        parts = self.parts or ((0, self.place, 0),)
        first, place, before = next(part for part in reversed(parts) if part[0] <= row)
        return f"{place}, row {row - first + before} of it"


class PlacedError(ValueError):
    """A block that cannot be used; the message begins with its place."""


class Source(ABC):
    """An ordered set of blocks, over which functions are mapped and their values merged.

    A fit asks nothing else of its data: each pass is one `reduce`, and so are the surveys before
    the first pass. Where the blocks are, and what runs the function there, is the source's affair.

    Attributes
    ----------
    n_features : int
        Columns of every block's X.
    feature_names : list of str, or None
        Their names, where they have any.
    n_outputs : int
        Columns of every block's y; 0 where y is (n,).
    row_inputs : tuple of str
        Which of "weight", "offset", "exposure" and "trials" the blocks have.
    label_order : list or None
        Labels of an ordered target from lowest to highest, where the source knows the order.
    engine : str
        What `engine_` of an estimator says of a fit to this source.
    """

    engine = "stream"
    label_order: list[Any] | None = None
    n_features: int
    feature_names: list[str] | None
    n_outputs: int
    row_inputs: tuple[str, ...]

    @abstractmethod
    def reduce(self, function: Callable[[Block], Any], merge: Callable[[Any, Any], Any]) -> Any:
        """``function`` of every block, merged in the order of the blocks.

        Parameters
        ----------
        function : callable
            From a `Block` to a value of a size that does not depend on the number of rows. It may
            be sent to another process: it can be pickled, and keeps nothing between calls.
        merge : callable
            Of two values; the left one is of earlier blocks. It is associative up to rounding, so
            that neighbours may be merged as a tree, which must be the same tree at every call. It
            may be sent as well, and must not change its arguments.

        Returns
        -------
        The merged value.

        Raises
        ------
        ValueError
            Where there is no block, or one cannot be read; the message names its place. Errors of
            ``function`` come through as they are.
        """

    @abstractmethod
    def identity(self) -> str:
        """A text that differs where the data do, as far as that is known without reading them.

        Checkpoints are bound to it, to the moments of the rows, and to a sum of their hashes.
        """


class BlockSource(Source):
    """A source whose blocks come one after the other in this process.

    The next block is read in a thread while one is used, and no more than these two are held.
    """

    reads_ahead = True  # False where blocks can be read in the caller's thread alone

    @abstractmethod
    def blocks(self) -> Iterator[Block]:
        """The blocks in order. Every call begins anew."""

    def reduce(self, function, merge):
        values = (function(block) for block in read_ahead(self))
        nothing = object()
        total = functools.reduce(
            lambda total, value: value if total is nothing else merge(total, value), values, nothing
        )
        if total is nothing:
            raise ValueError(f"{type(self).__name__} has no rows: there is nothing to fit.")
        return total


def read_ahead(source: BlockSource) -> Iterator[Block]:
    """The blocks of a source that have rows, each read in a thread while another is used."""
    blocks = (block for block in source.blocks() if len(block.X))
    if not source.reads_ahead:
        yield from blocks
        return
    with ThreadPoolExecutor(1, thread_name_prefix="mixexp-read") as reader:
        coming = reader.submit(next, blocks, None)
        while (block := coming.result()) is not None:
            coming = reader.submit(next, blocks, None)
            yield block
