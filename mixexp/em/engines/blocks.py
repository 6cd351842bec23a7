"""Engines of rows that are elsewhere: a pass is a pass in memory of every block, and their sum."""

from __future__ import annotations

import functools

import numpy as np

from ..blocked import BlockRows, Summed
from ..model import MoEModel
from ..params import PassResult, stack, tree_map
from ..rows import Rows
from ..summary import block_certainty, last_pass
from ..survey import joined
from .memory import MemoryEngine


class BlockEngine:
    """Runs passes over the blocks of a source.

    Parameters
    ----------
    rows : BlockRows
    model : MoEModel
    n_jobs : int, default=1
        Threads of the pass over a block. The result does not depend on it, bit for bit.
    """

    kernel = None  # what a compiled M-step would take the sums from

    def __init__(self, rows: BlockRows, model: MoEModel, n_jobs: int = 1):
        self.rows = rows
        self.n_jobs = n_jobs
        self.total_weight = rows.total_weight

    def run(self, model: MoEModel, params) -> PassResult:
        """One pass for a batch of parameter sets."""
        return self.rows.reduce(BlockPass(model, params, self.n_jobs), add)

    def batches(self, size):
        """The rows in mini-batches of one size, in the order of the source; the last is larger."""
        whole, parts, n = None, [], 0
        for rows in self.rows.each():
            start = 0
            while rows.n - start >= size - n:
                stop = start + size - n
                parts.append(rows.take(slice(start, stop)))
                if whole is not None:
                    yield whole
                whole, parts, n, start = joined(parts), [], 0, stop
            if start < rows.n:
                parts.append(rows.take(slice(start, rows.n)))
                n += rows.n - start
        yield joined(parts if whole is None else [whole, *parts])


class BlockPass:
    """The function of blocks that makes a pass."""

    def __init__(self, model, params, n_jobs):
        self.model, self.params, self.n_jobs = model, params, n_jobs

    def __call__(self, rows: Rows) -> PassResult:
        return MemoryEngine(rows, self.model, self.n_jobs).run(self.model, self.params)


class LastPass:
    """The function of blocks that makes a pass and sums `certainty`, in one reading."""

    def __init__(self, model, params, n_jobs):
        self.one = BlockPass(model, stack([params]), n_jobs)
        self.other = Summed(functools.partial(block_certainty, model, params))

    def __call__(self, rows: Rows):
        return self.one(rows), self.other(rows)

    @staticmethod
    def merge(left, right):
        return add(left[0], right[0]), left[1] + right[1]


@last_pass.register
def _(engine: BlockEngine, model, params):
    return engine.rows.reduce(LastPass(model, params, engine.n_jobs), LastPass.merge)


def add(left: PassResult, right: PassResult) -> PassResult:
    """The pass over the rows of both."""
    return tree_map(np.add, left, right)
