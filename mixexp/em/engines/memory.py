"""Engine ``memory``: rows in numpy or scipy.sparse arrays; blocks, threads, fused kernels."""

from __future__ import annotations

import contextlib
import functools
import os
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from scipy import sparse

from ...experts import GLMStatistics
from ...gates import SoftmaxStatistics
from ...kernels import small
from ...kernels.links import LINKS
from ..model import MoEModel
from ..params import PassResult, Statistics, stack, take, tree_map
from ..rows import Rows, blocks
from ..threads import single_threaded_blas

CHUNK = 16384  # rows of a call of the kernel, about: enough to hide the call
CHUNKS = 64  # at most; a function of n alone, so that sums do not depend on the threads
_EMPTY = np.empty(0)


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
        self.fused = fused and is_fused(model, rows)
        self.kernel = _Kernel(model, rows, n_jobs) if self.fused else None

    def run(self, model: MoEModel, params) -> PassResult:
        """One pass for a batch of parameter sets."""
        kernel = self.kernel
        if kernel is None:
            return self._run_composed(model, params)
        if model is not kernel.model:
            kernel = _Kernel(model, self.rows, self.n_jobs)
        return kernel.result(params)

    def rows_map(self, function):
        """``function(rows of a block)`` for every block, in order."""
        return [function(self.rows.take(block)) for block in blocks(self.rows.n)]

    def _run_composed(self, model, params):
        n_sets = len(params.gate[0])
        results = []
        for s in range(n_sets):
            single = take(params, s)
            total = None
            for block in blocks(self.rows.n):
                part = model.statistics(single, self.rows.take(block))
                total = part if total is None else tree_map(np.add, total, part)
            results.append(total)
        return stack(results)


def is_fused(model: MoEModel, rows: Rows) -> bool:
    """Whether the pair has a fused kernel for these rows."""
    return (
        model.gate.fused
        and model.expert.fused
        and rows.y.shape[1] == 1
        and not sparse.issparse(rows.X)
        and rows.X.dtype in (np.float32, np.float64)
    )


def _row_part(rows, model):
    """sum_i w_i of the log density's part that depends on the row alone, in the user's units."""
    total = 0.0
    for block in blocks(rows.n):
        part = rows.take(block)
        values = model.expert.row_part(part.y, part.trials)
        total += float(values.sum() if part.weight is None else part.weight @ values)
    return total - rows.total_weight * float(np.log(model.scaling.y_scale).sum())


def _chunk_rows(n):
    """Rows of a chunk: equal chunks of whole kernel blocks, an even number of them."""
    count = min(-(-n // CHUNK), CHUNKS)
    count += count % 2 if count > 1 else 0
    return max(256, -(-n // (256 * max(count, 1))) * 256)


@functools.cache
def _pool(n_jobs, process):
    """Threads of passes; they live as long as the process (a fork needs its own)."""
    return ThreadPoolExecutor(n_jobs, thread_name_prefix="mixexp")


class _Kernel:
    """The fused kernel with everything bound that stays the same from pass to pass."""

    def __init__(self, model, rows, n_jobs):
        from ...kernels import cpu  # the first fit loads or compiles it, not the import

        self.kernel = cpu.softmax_glm_kernel(rows.X.dtype)
        self.model = model
        self.n, self.n_jobs = rows.n, n_jobs
        self.row_part = _row_part(rows, model)
        self.total_weight = rows.total_weight
        self.step = _chunk_rows(rows.n)
        self.sizes = len(model.gate_columns) + 1, len(model.expert_columns) + 1
        self.uses_blas = cpu.uses_blas(max(self.sizes), model.K)
        scaling = model.scaling
        self.arguments = (
            rows.X,
            model.gate_columns,
            scaling.x_centre[model.gate_columns],
            1 / scaling.x_scale[model.gate_columns],
            model.expert_columns,
            scaling.x_centre[model.expert_columns],
            1 / scaling.x_scale[model.expert_columns],
            np.array_equal(model.gate_columns, model.expert_columns),
            rows.y[:, 0],
            float(scaling.y_centre[0]),
            1 / float(scaling.y_scale[0]),
            _EMPTY if rows.weight is None else rows.weight,
            _EMPTY if rows.offset is None else rows.offset / scaling.y_scale[0],
            _EMPTY if rows.trials is None else rows.trials,
            model.expert.kernel_code,
            LINKS[model.expert.link_name].code,
        )

    def packed(self, W, B, dispersion, constant):
        """Statistics of all rows as the kernel returns them, chunks in order."""
        if (W.shape[2], B.shape[2]) != self.sizes:  # compiled code checks no bounds
            raise ValueError(
                f"coefficients of {W.shape[2]} and {B.shape[2]} columns for designs of "
                f"{self.sizes[0]} and {self.sizes[1]}"
            )
        parameters = tuple(map(np.ascontiguousarray, (W, B, dispersion, constant)))
        starts = range(0, self.n, self.step)
        chunk = functools.partial(self._chunk, parameters)
        with single_threaded_blas() if self.uses_blas else contextlib.nullcontext():
            if self.n_jobs == 1 or len(starts) == 1:
                parts = list(map(chunk, starts))
            else:
                parts = list(_pool(self.n_jobs, os.getpid()).map(chunk, starts))
        for part in parts[1:]:
            for total, more in zip(parts[0], part, strict=True):
                total += more
        return parts[0]

    def _chunk(self, parameters, start):
        W, B = parameters[:2]
        S, K, qg = W.shape
        qe = B.shape[2]
        out = (
            np.zeros(S),
            np.zeros((S, K, qg)),
            np.zeros((S, K * (K - 1) // 2, qg * (qg + 1) // 2)),
            np.zeros((S, K, qe * (qe + 1) // 2)),
            np.zeros((S, K, qe)),
            np.zeros((S, K)),
            np.zeros((S, K)),
        )
        stop = min(start + self.step, self.n)
        self.kernel(*self.arguments, *parameters, start, stop, *out)
        return out

    def result(self, params):
        """The parts' statistics, unpacked."""
        dispersion = params.expert.dispersion[:, :, 0]
        loglik, gate_score, gate_pairs, gram, score, mass, extra = self.packed(
            params.gate.coef,
            params.expert.coef[:, :, 0],
            dispersion,
            self.model.expert.kernel_constant(dispersion),
        )
        weight = np.full(len(loglik), self.total_weight)
        gate = SoftmaxStatistics(gate_score, small.unpack(gate_pairs, gate_score.shape[2]), weight)
        expert = GLMStatistics(
            small.unpack(gram, score.shape[2])[:, :, None],
            score[:, :, None],
            mass,
            extra[:, :, None],
            weight,
        )
        return PassResult(loglik + self.row_part, Statistics(gate, expert))
