"""Engine ``memory``: rows in numpy or scipy.sparse arrays; blocks, threads, fused kernels."""

from __future__ import annotations

import numpy as np

from ..model import MoEModel
from ..params import PassResult, stack, take, tree_map
from ..rows import Rows
from ..starts.keys import hash_rows, keyed_uniform
from .batched import batched_pass, runs_batched
from .fused import fused_pass


class MemoryEngine:
    """Runs passes over rows held in memory.

    Parameters
    ----------
    rows : Rows
    model : MoEModel
        Decides once, by its gate and expert, between the fused kernel and the composed pass.
    n_jobs : int, default=1
        Threads. The result does not depend on it, bit for bit.
    fused : bool, default=True
        False forces the composed pass (for tests and comparisons).
    """

    def __init__(self, rows: Rows, model: MoEModel, n_jobs: int = 1, fused: bool = True):
        self.rows = rows
        self.n_jobs = n_jobs
        self.total_weight = rows.total_weight
        self.kernel = fused_pass(model, rows, n_jobs) if fused else None

    def run(self, model: MoEModel, params) -> PassResult:
        """One pass for a batch of parameter sets."""
        kernel = self.kernel
        if kernel is None:
            return self._run_composed(model, params)
        if model is not kernel.model:
            kernel = type(kernel)(model, self.rows, self.n_jobs)
        return kernel.result(params)

    def rows_map(self, function):
        """``function(rows of a block)`` for every block, in order."""
        return [function(self.rows.take(block)) for block in self.rows.blocks()]

    def batches(self, size: int):
        """The rows of positive weight in batches of about one size, dealt at random by value.

        They are the same batches each time, and for every order of the rows. Groups, which are in
        the order of their hashes already, stay whole.
        """
        rows = self.rows
        if rows.group is not None:
            return (rows.take(block) for block in rows.blocks(size))
        order = np.argsort(keyed_uniform(hash_rows(rows), 0), kind="stable")
        order = order if rows.weight is None else order[rows.weight[order] > 0]
        parts = np.array_split(order, max(1, round(len(order) / size)))
        return (rows.take(part) for part in parts)

    def _run_composed(self, model, params):
        if runs_batched(model, self.rows, params):
            return batched_pass(model, self.rows, params)
        n_sets = len(params.gate[0])
        results = []
        for s in range(n_sets):
            single = take(params, s)
            total = None
            for block in self.rows.blocks():
                part = model.statistics(single, self.rows.take(block))
                total = part if total is None else tree_map(np.add, total, part)
            results.append(total)
        return stack(results)
