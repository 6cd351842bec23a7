"""Blocks of rows on a device: how many rows they have, and whether their designs are kept.

The designs of all rows are kept on the device where they fit beside the work arrays of a block;
else every pass makes those of a block from X, which lies on the device or, where the user asked
for it, on the host.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from ...kernels import gpu
from ..device import GIB, DeviceRows

MOST = 2**20  # rows of a block


class DeviceBlock(NamedTuple):
    """A block on the device.

    n rows, the designs of gate and experts padded behind them, and the row-wise vectors: target,
    weight, offset and trials, None where absent.
    """

    n: int
    gate: gpu.Design
    expert: gpu.Design
    vectors: tuple


class DeviceColumns(NamedTuple):
    """What the kernels need to know of some columns of X, on the device."""

    columns: Any
    centre: Any
    inverse_scale: Any
    left: Any
    right: Any
    triangle: Any
    by_products: bool

    @classmethod
    def of(cls, xp, columns, scaling, n_grams) -> DeviceColumns:
        q = len(columns) + 1
        left, right = np.triu_indices(q)
        return cls(
            xp.asarray(np.asarray(columns, dtype=np.int64)),
            xp.asarray(scaling.x_centre[columns]),
            xp.asarray(1 / scaling.x_scale[columns]),
            xp.asarray(left.astype(np.int64)),
            xp.asarray(right.astype(np.int64)),
            xp.asarray((left * q + right).astype(np.int64)),
            gpu.by_products(n_grams, q),
        )

    def design(self, xp, X, padded, dtype) -> gpu.Design:
        values = gpu.standardised(xp, X, self.columns, self.centre, self.inverse_scale, padded)
        products = None
        if self.by_products:
            products = gpu.column_products(xp, values, self.left, self.right, dtype)
        narrow = values if products is not None else values.astype(dtype, copy=False)
        return gpu.Design(values, narrow, products, self.triangle)


class DeviceBlocks:
    """The blocks of some rows, for one model.

    Parameters
    ----------
    rows : DeviceRows
    model : MoEModel
    scores, grams : Factors
        Left factors of the sums of designs and of Gram matrices.

    Attributes
    ----------
    m : int
        Rows of a tile.
    size : int
        Rows of a block, a multiple of m.
    kept : bool
        Whether the designs of all blocks are kept on the device.

    Raises
    ------
    ValueError
        Where the device has too little memory for a block of one tile.
    """

    def __init__(self, rows: DeviceRows, model, scores: gpu.Factors, grams: gpu.Factors):
        X, self.n = rows.X, rows.n
        self.X, self.xp = X, X.xp
        xp, scaling, self.together = X.xp, model.scaling, grams.together
        self.m = gpu.tile_rows(self.n)
        self._plan(model, scores, grams)
        columns = model.gate_columns, model.expert_columns
        self.gate, self.expert = (
            DeviceColumns.of(xp, own, scaling, J)
            for own, J in zip(columns, _of_designs(grams), strict=True)
        )
        offset = None if rows.offset is None else rows.offset / scaling.y_scale[0]
        target = scaling.target(rows.y)[:, 0]
        self.vectors = tuple(
            None if one is None else xp.asarray(np.ascontiguousarray(one, dtype=np.float64))
            for one in (target, rows.weight, offset, rows.trials)
        )
        self._blocks = list(map(self._made, self._slices())) if self.kept else None

    def __iter__(self):
        return iter(map(self._made, self._slices()) if self._blocks is None else self._blocks)

    def _plan(self, model, scores, grams):
        """Rows of a block, and whether designs are kept, by the bytes of a row."""
        width = self.X.dtype.itemsize
        n_scores, n_grams = sum(scores[:2]), sum(grams[:2])
        q = [len(model.gate_columns) + 1, len(model.expert_columns) + 1]
        design, work = 0, 8 * n_scores + width * n_grams
        for j, J in [*zip(q, _of_designs(grams), strict=True)][1 if self.together else 0 :]:
            products = gpu.by_products(J, j)
            narrow = width * j if width < 8 else 0
            design += 8 * j + (width * j * (j + 1) // 2 if products else narrow)
            work += 0 if products else width * J * j
        summed = n_scores * max(q) * 8 + n_grams * max(q) ** 2 * width
        streamed = width * self.X.shape[1] if self.X.streamed else 0
        work += summed // self.m + 1
        vectors = 8 * 4
        free = self.X.settings.budget(self.xp) - self.n * vectors
        if self.X.settings.memory is not None and not self.X.streamed:
            free -= self.X.array.nbytes  # what is free on the device is free beside X
        tiles = -(-self.n // self.m)
        most = max(1, min(tiles, MOST // self.m))
        left = free - tiles * self.m * design
        self.kept = not self.X.streamed and left >= self.m * work * min(most, 16)
        row = work if self.kept else work + design + streamed
        count = min(most, int((left if self.kept else free) // (self.m * row)))
        if count < 1:
            raise ValueError(_too_little(free, self.m * row, self.X))
        self.size = count * self.m

    def _slices(self):
        return [slice(i, min(i + self.size, self.n)) for i in range(0, self.n, self.size)]

    def _made(self, rows: slice) -> DeviceBlock:
        X, n = self.X.block(rows), rows.stop - rows.start
        padded = -(-n // self.m) * self.m
        gate = self.gate.design(self.xp, X, padded, self.X.dtype)
        expert = gate
        if not self.together:
            expert = self.expert.design(self.xp, X, padded, self.X.dtype)
        vectors = tuple(None if one is None else one[rows] for one in self.vectors)
        return DeviceBlock(n, gate, expert, vectors)


def _of_designs(grams: gpu.Factors) -> tuple[int, int]:
    """Left factors that multiply the gate's design and the experts'."""
    both = grams.gate + grams.expert
    return (both, both) if grams.together else (grams.gate, grams.expert)


def _too_little(free, needed, X):
    text = (
        f"engine='gpu' needs {needed / GIB:.2g} GiB of the device for its smallest block of rows "
        f"and has {max(0, free) / GIB:.2g} GiB left. Free memory there, use fewer columns or "
        "experts, or engine='memory'"
    )
    return text + ("." if X.streamed else "; engine=GPU(stream=True) leaves X on the host.")
