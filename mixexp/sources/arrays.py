"""Arrays as a source of blocks: `numpy.memmap` above all."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from .base import ROW_INPUTS, Block, BlockSource
from .values import as_floats, as_values, column_names, label_order

BLOCK_ROWS = 65536


class ArrayDataset(BlockSource):
    """Rows of arrays that need not fit into memory, such as `numpy.memmap`, block by block.

    ``fit(X, y, engine="stream")`` makes one of its arguments.

    Parameters
    ----------
    X : array (n, p) or data frame
        Anything with a shape that gives an array for a slice of rows.
    y : array (n,) or (n, m), or None
        None for data to predict alone.
    weight, offset, exposure, trials : array (n,), number or None
        As in `MoERegressor.fit`; a number stands for all rows.
    block_rows : int, default=65536
        Rows of a block.

    Raises
    ------
    ValueError
        If X has not two dimensions, or another array has not as many rows.
    """

    def __init__(
        self,
        X,
        y=None,
        *,
        weight=None,
        offset=None,
        exposure=None,
        trials=None,
        block_rows=BLOCK_ROWS,
    ):
        self.X = X if hasattr(X, "shape") else np.asarray(X)
        self.y = _shaped(y)
        self.weight, self.offset = _shaped(weight), _shaped(offset)
        self.exposure, self.trials = _shaped(exposure), _shaped(trials)
        self.block_rows = check_block_rows(block_rows)
        if len(self.X.shape) != 2:
            raise ValueError(
                f"X needs two dimensions, rows and columns; got {type(X).__name__} of shape "
                f"{self.X.shape}."
            )
        n = self.X.shape[0]
        for name in ("y", *ROW_INPUTS):
            values = getattr(self, name)
            number = name != "y" and np.ndim(values) == 0
            if values is not None and not number and np.shape(values)[:1] != (n,):
                raise ValueError(
                    f"{name} needs one value per row of X: got shape {np.shape(values)} for {n} "
                    "rows."
                )
        self.n_features = self.X.shape[1]
        self.feature_names = column_names(getattr(X, "columns", None))
        self.label_order = label_order(y)
        self.n_outputs = 0 if np.ndim(y) < 2 else np.shape(y)[1]
        self.row_inputs = tuple(name for name in ROW_INPUTS if getattr(self, name) is not None)

    def blocks(self) -> Iterator[Block]:
        n = self.X.shape[0]
        for start in range(0, n, self.block_rows):
            stop = min(start + self.block_rows, n)
            parts = {name: _part(getattr(self, name), start, stop) for name in ("y", *ROW_INPUTS)}
            yield Block(
                as_floats(_rows(self.X, start, stop)),
                **parts,
                place=f"rows {start} to {stop - 1}",
            )

    def identity(self):
        return f"arrays of shapes {np.shape(self.X)}, {np.shape(self.y)}"


def check_block_rows(block_rows) -> int:
    """Rows of a block as an int of at least 1."""
    if isinstance(block_rows, bool) or block_rows != int(block_rows) or block_rows < 1:
        raise ValueError(f"block_rows must be an integer >= 1; got {block_rows!r}.")
    return int(block_rows)


def _shaped(values):
    """Lists as arrays, so that a block of them costs no more than its rows."""
    return values if values is None or hasattr(values, "shape") else np.asarray(values)


def _part(values, start, stop):
    """Rows of a target or a row-wise input; a number is one for every row."""
    if values is None:
        return None
    if np.ndim(values) == 0:
        return np.full(stop - start, values)
    return as_values(_rows(values, start, stop))


def _rows(values, start, stop):
    return values.iloc[start:stop] if hasattr(values, "iloc") else values[start:stop]
