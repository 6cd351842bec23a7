"""The fused kernels of passes over rows in memory: which pair of gate and expert has which.

`KERNELS` has one row for every kernel; a pair without a row runs the composed pass. A kernel
handles a chunk of rows, and chunks run in Python threads.
"""

from __future__ import annotations

import contextlib
import functools
import os
from abc import ABC, abstractmethod
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
from scipy import sparse

from ...experts import GLMStatistics
from ...experts.multinomial import MultinomialStatistics
from ...gates import SoftmaxStatistics
from ...kernels import small
from ...kernels.links import LINKS
from ..model import MoEModel
from ..params import PassResult, Statistics
from ..rows import Rows, blocks
from ..threads import single_threaded_blas

CHUNK = 16384  # rows of a call of the kernel, about: enough to hide the call
CHUNKS = 64  # at most; a function of n alone, so that sums do not depend on the threads
_EMPTY = np.empty(0)


def fused_pass(model: MoEModel, rows: Rows, n_jobs: int) -> FusedPass | None:
    """The pair's fused pass over these rows; None where it has no kernel for them."""
    kind = KERNELS.get((model.gate.kernel, model.expert.kernel))
    dense = not sparse.issparse(rows.X) and rows.X.dtype in (np.float32, np.float64)
    plain = rows.prior is None and rows.group is None
    if kind is None or not dense or rows.y.shape[1] != 1 or not plain:
        return None
    return kind(model, rows, n_jobs)


def _chunk_rows(n):
    """Rows of a chunk: equal chunks of whole kernel blocks, an even number of them."""
    count = min(-(-n // CHUNK), CHUNKS)
    count += count % 2 if count > 1 else 0
    return max(256, -(-n // (256 * max(count, 1))) * 256)


@functools.cache
def _pool(n_jobs, process):
    """Threads of passes; they live as long as the process (a fork needs its own)."""
    return ThreadPoolExecutor(n_jobs, thread_name_prefix="mixexp")


def _in_threads(function, items, n_jobs):
    """``[function(item) for item in items]``, by this thread and ``n_jobs - 1`` others.

    Every thread takes one run of neighbours: a task costs tens of microseconds, and so does
    waking a thread.
    """
    n_jobs = min(n_jobs, len(items))
    if n_jobs == 1:
        return [function(item) for item in items]
    share = -(-len(items) // n_jobs)
    runs = [items[start : start + share] for start in range(0, len(items), share)]
    pool = _pool(n_jobs - 1, os.getpid())
    others = [pool.submit(lambda run: [function(item) for item in run], run) for run in runs[1:]]
    done = [function(item) for item in runs[0]]
    return done + [result for other in others for result in other.result()]


class FusedPass(ABC):
    """A kernel with everything bound that stays the same from pass to pass.

    Attributes
    ----------
    row_part : float
        What the kernel leaves out of the log-likelihood: a function of the rows alone.
    total_weight : float
    """

    kernel: Any
    arguments: tuple  # of every call of the kernel, before the parameters
    row_part = 0.0

    def __init__(self, model, rows, n_jobs):
        self.model = model
        self.n, self.n_jobs = rows.n, n_jobs
        self.total_weight = rows.total_weight
        self.step = _chunk_rows(rows.n)
        self.sizes = len(model.gate_columns) + 1, len(model.expert_columns) + 1
        scaling = model.scaling
        self.designs = (
            rows.X,
            model.gate_columns,
            scaling.x_centre[model.gate_columns],
            1 / scaling.x_scale[model.gate_columns],
            model.expert_columns,
            scaling.x_centre[model.expert_columns],
            1 / scaling.x_scale[model.expert_columns],
            np.array_equal(model.gate_columns, model.expert_columns),
        )
        self.weight = _EMPTY if rows.weight is None else rows.weight

    @abstractmethod
    def result(self, params) -> PassResult:
        """The parts' statistics of a batch of parameter sets."""

    def _sums(self, parameters, shapes, uses_blas):
        """Arrays of these shapes, summed over the chunks in their order.

        The first two of the parameters are the coefficients of the gate and of the experts.
        """
        sizes = parameters[0].shape[2], parameters[1].shape[2]
        if sizes != self.sizes:  # compiled code checks no bounds
            raise ValueError(
                f"coefficients of {sizes[0]} and {sizes[1]} columns for designs of "
                f"{self.sizes[0]} and {self.sizes[1]}"
            )
        parameters = tuple(map(np.ascontiguousarray, parameters))
        starts = range(0, self.n, self.step)
        chunk = functools.partial(self._chunk, parameters, shapes)
        with single_threaded_blas() if uses_blas else contextlib.nullcontext():
            parts = _in_threads(chunk, starts, self.n_jobs)
        for part in parts[1:]:
            for total, more in zip(parts[0], part, strict=True):
                total += more
        return parts[0]

    def _chunk(self, parameters, shapes, start):
        out = tuple(map(np.zeros, shapes))
        stop = min(start + self.step, self.n)
        self.kernel(*self.arguments, *parameters, start, stop, *out)
        return out


class GLMPass(FusedPass):
    """Softmax or constant gate over generalised linear experts."""

    def __init__(self, model, rows, n_jobs):
        from ...kernels import cpu  # the first fit loads or compiles it, not the import

        super().__init__(model, rows, n_jobs)
        self.kernel = cpu.softmax_glm_kernel(rows.X.dtype)
        self.uses_blas = cpu.uses_blas(max(self.sizes), model.K)
        self.row_part = row_part_of(rows, model)
        scaling = model.scaling
        self.arguments = (
            *self.designs,
            rows.y[:, 0],
            float(scaling.y_centre[0]),
            1 / float(scaling.y_scale[0]),
            self.weight,
            _EMPTY if rows.offset is None else rows.offset / scaling.y_scale[0],
            _EMPTY if rows.trials is None else rows.trials,
            model.expert.kernel_code,
            LINKS[model.expert.link_name].code,
        )

    def packed(self, W, B, dispersion, constant):
        """loglik, gate_score, gate_pairs, gram, score, mass and extra as the kernel has them."""
        S, K, qg = W.shape
        qe = B.shape[2]
        shapes = (
            S,
            (S, K, qg),
            (S, K * (K - 1) // 2, qg * (qg + 1) // 2),
            (S, K, qe * (qe + 1) // 2),
            (S, K, qe),
            (S, K),
            (S, K),
        )
        return self._sums((W, B, dispersion, constant), shapes, self.uses_blas)

    def result(self, params):
        dispersion = params.expert.dispersion[:, :, 0]
        loglik, gate_score, gate_pairs, gram, score, mass, extra = self.packed(
            params.gate.coef,
            params.expert.coef[:, :, 0],
            dispersion,
            self.model.expert.kernel_constant(dispersion),
        )
        weight = np.full(len(loglik), self.total_weight)
        expert = GLMStatistics(
            small.unpack(gram, score.shape[2])[:, :, None],
            score[:, :, None],
            mass,
            extra[:, :, None],
            weight,
        )
        gate = _gate_statistics(gate_score, gate_pairs, weight)
        return PassResult(loglik + self.row_part, Statistics(gate, expert))


class MultinomialPass(FusedPass):
    """Softmax or constant gate over multinomial experts."""

    def __init__(self, model, rows, n_jobs):
        from ...kernels import multinomial

        super().__init__(model, rows, n_jobs)
        self.kernel = multinomial.softmax_multinomial_kernel(rows.X.dtype)
        self._uses_blas = multinomial.uses_blas
        self.largest_code = int(rows.y.max())
        self.arguments = *self.designs, rows.y[:, 0], self.weight

    def packed(self, W, B, C):
        """loglik, gate_score, gate_pairs, score (S, K C, q), pairs (S, K D, T) and mass.

        B (S, K C, q) holds the coefficients of C classes for each expert.
        """
        if self.largest_code >= C:  # compiled code checks no bounds
            raise ValueError(f"class code {self.largest_code} for experts of {C} classes")
        S, K, qg = W.shape
        KC, qe = B.shape[1:]
        shapes = (
            S,
            (S, K, qg),
            (S, K * (K - 1) // 2, qg * (qg + 1) // 2),
            (S, KC, qe),
            (S, KC * (C - 1) // 2, qe * (qe + 1) // 2),
            (S, K),
        )
        return self._sums((W, B), shapes, self._uses_blas(max(self.sizes), K, C))

    def result(self, params):
        S, K, C, q = params.expert.coef.shape
        loglik, gate_score, gate_pairs, score, pairs, mass = self.packed(
            params.gate.coef, params.expert.coef.reshape(S, K * C, q), C
        )
        weight = np.full(S, self.total_weight)
        expert = MultinomialStatistics(
            score.reshape(S, K, C, q),
            small.unpack(pairs, q).reshape(S, K, -1, q, q),
            mass,
            weight,
        )
        gate = _gate_statistics(gate_score, gate_pairs, weight)
        return PassResult(loglik, Statistics(gate, expert))


# (gate's kernel, expert's kernel): what the parts name in their attribute `kernel`
KERNELS = {
    ("softmax", "glm"): GLMPass,
    ("softmax", "multinomial"): MultinomialPass,
}


def _gate_statistics(score, pairs, weight):
    return SoftmaxStatistics(score, small.unpack(pairs, score.shape[2]), weight)


def row_part_of(rows, model):
    """sum_i w_i of the log density's part that depends on the row alone, in the user's units."""
    total = 0.0
    for block in blocks(rows.n):
        part = rows.take(block)
        values = model.expert.row_part(part.y, part.trials)
        total += float(values.sum() if part.weight is None else part.weight @ values)
    return total - rows.total_weight * float(np.log(model.scaling.y_scale).sum())
