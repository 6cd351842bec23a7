"""Engine ``memory``: rows in numpy or scipy.sparse arrays; blocks, threads, fused kernels."""

from __future__ import annotations

import functools
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from scipy import sparse
from threadpoolctl import ThreadpoolController

from ...experts import GLMStatistics
from ...gates import SoftmaxStatistics
from ...kernels.links import LINKS
from ..model import MoEModel
from ..params import PassResult, Statistics, stack, take, tree_map
from ..rows import Rows, blocks

SMALL = 8192  # below this many rows a pass is one serial call
CHUNKS = 64  # at most; fixed, so that sums do not depend on the number of threads
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
        if self.fused:
            self._row_part = _row_part(rows, model)

    def run(self, model: MoEModel, params) -> PassResult:
        """One pass for a batch of parameter sets."""
        return self._run_fused(model, params) if self.fused else self._run_composed(model, params)

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

    def _run_fused(self, model, params):
        n = self.rows.n
        step = max(SMALL, -(-n // CHUNKS))
        step += -step % 256
        starts = range(0, n, step)
        call = _kernel_call(model, self.rows, params, self.total_weight)
        if len(starts) == 1:
            return call.result([call.chunk(0, n)], self._row_part)
        with single_threaded_blas():
            if self.n_jobs == 1:
                parts = [call.chunk(start, min(start + step, n)) for start in starts]
            else:
                with ThreadPoolExecutor(self.n_jobs) as pool:
                    parts = list(
                        pool.map(lambda start: call.chunk(start, min(start + step, n)), starts)
                    )
        return call.result(parts, self._row_part)


@functools.cache
def _controller():
    return ThreadpoolController()


def single_threaded_blas():
    """BLAS inside a pass runs on the pass's own threads."""
    from ...kernels import cpu  # noqa: F401  (its BLAS must be loaded before the controller looks)

    return _controller().limit(limits=1, user_api="blas")


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


class _kernel_call:
    """Arguments of the fused kernel for one batch of parameters, and the sum of its chunks."""

    def __init__(self, model, rows, params, total_weight):
        self.W = np.ascontiguousarray(params.gate.coef)
        self.B = np.ascontiguousarray(params.expert.coef[:, :, 0])
        dispersion = np.ascontiguousarray(params.expert.dispersion[:, :, 0])
        expert, scaling = model.expert, model.scaling
        self.total_weight = total_weight
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
            _EMPTY if rows.offset is None else rows.offset / float(scaling.y_scale[0]),
            _EMPTY if rows.trials is None else rows.trials,
            expert.kernel_code,
            LINKS[expert.link_name].code,
            self.W,
            self.B,
            dispersion,
            expert.kernel_constant(dispersion),
        )

    def chunk(self, start, stop):
        """Packed statistics of rows start .. stop."""
        from ...kernels import cpu

        (S, K, qg), qe = self.W.shape, self.B.shape[2]
        out = (
            np.zeros(S),
            np.zeros((S, K, qg)),
            np.zeros((S, K * (K - 1) // 2, qg * (qg + 1) // 2)),
            np.zeros((S, K, qe * (qe + 1) // 2)),
            np.zeros((S, K, qe)),
            np.zeros((S, K)),
            np.zeros((S, K)),
        )
        cpu.softmax_glm_chunk(*self.arguments, start, stop, *out)
        return out

    def result(self, parts, row_part):
        """Chunks added in order, unpacked into the parts' statistics."""
        from ...kernels import cpu

        first = parts[0]
        for part in parts[1:]:
            for total, more in zip(first, part, strict=True):
                total += more
        loglik, gate_score, gate_pairs, gram, score, mass, extra = first
        weight = np.full(len(loglik), self.total_weight)
        qg, qe = self.W.shape[2], self.B.shape[2]
        gate = SoftmaxStatistics(gate_score, cpu.unpack(gate_pairs, qg), weight)
        expert = GLMStatistics(
            cpu.unpack(gram, qe)[:, :, None],
            score[:, :, None],
            mass,
            extra[:, :, None],
            weight,
        )
        return PassResult(loglik + row_part, Statistics(gate, expert))
