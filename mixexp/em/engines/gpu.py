"""Engine ``gpu``: passes over rows on a device.

A pass sends the parameters up and brings the statistics down, one array each: the rows stay. Every
block of rows is one launch of the row-wise kernel and products of matrices by cuBLAS; sums are
float64. `PASSES` has one row for every pair of gate and experts that the device knows.
"""

from __future__ import annotations

import math
from typing import Any, ClassVar

import numpy as np

from ...kernels import gpu
from ...kernels.links import LINKS
from ..device import DeviceRows, room
from ..model import MoEModel
from ..params import PassResult, stack
from ..rows import Rows
from ..summary import certainty
from .device_blocks import DeviceBlocks
from .fused import GLMPass, MultinomialPass, row_part_of


class DevicePass:
    """What the passes of all pairs have in common: blocks, sums over them, and the transfers.

    Attributes
    ----------
    kernel_name : str
    n_vectors : int
        How many of target, weight, offset and trials the kernel takes.
    """

    kernel_name: ClassVar[str]
    n_vectors: ClassVar[int]

    def _prepare(self, model, rows, factors, n_scalars, macros):
        """Blocks and kernel; ``factors``: the experts' left factors of scores and of products."""
        self.model, self.X, self.xp = model, rows.X, rows.X.xp
        self.total_weight = rows.total_weight
        self.sizes = len(model.gate_columns) + 1, len(model.expert_columns) + 1
        K, together = model.K, np.array_equal(model.gate_columns, model.expert_columns)
        scores = gpu.Factors(K, factors[0], together)
        grams = gpu.Factors(K * (K - 1) // 2, factors[1], together)
        with self.X.device, room():
            self.blocks = DeviceBlocks(rows, model, scores, grams)
            self.rows_kernel = gpu.RowKernel(
                self.xp, self.kernel_name, n_scalars, scores, grams, rows.X.dtype, macros
            )

    def _sums(self, *parameters, entropies=False):
        """Host arrays with S first: scalars, scores of gate and experts, Gram matrices of both.

        ``parameters``: arrays with S first, which the kernel has one behind the other.
        """
        S, sizes = len(parameters[0]), (parameters[0].shape[-1], parameters[1].shape[-1])
        if sizes != self.sizes:  # kernels check no bounds
            raise ValueError(
                f"coefficients of {sizes[0]} and {sizes[1]} columns for designs of "
                f"{self.sizes[0]} and {self.sizes[1]}"
            )
        flat = [np.asarray(one, dtype=np.float64).reshape(S, -1) for one in parameters]
        with self.X.device, room():
            params = self.xp.asarray(np.concatenate(flat, axis=1))
            totals: list[Any] = [None] * S
            for block in self.blocks:
                totals = [
                    _added(total, self._block_sums(block, params[s], entropies))
                    for s, total in enumerate(totals)
                ]
            each = [part for total in totals for part in total]
            down = self.xp.asnumpy(self.xp.concatenate([part.ravel() for part in each]))
        shapes = [part.shape for part in totals[0]]
        ends = np.cumsum([math.prod(shape) for shape in shapes])
        parts = np.split(down.reshape(S, -1), ends[:-1], axis=1)
        return [
            np.ascontiguousarray(part.reshape(S, *shape))
            for part, shape in zip(parts, shapes, strict=True)
        ]

    def _block_sums(self, block, params, entropies):
        vectors = block.vectors[: self.n_vectors]
        return self.rows_kernel.sums(
            block.gate, block.expert, vectors, params, block.n, self.blocks.m, entropies
        )


def _added(total, more):
    return more if total is None else [one + other for one, other in zip(total, more, strict=True)]


class DeviceGLMPass(DevicePass, GLMPass):
    """Softmax or constant gate over generalised linear experts, on a device."""

    kernel_name = "softmax_glm_rows"
    n_vectors = 4

    def __init__(self, model, rows):
        expert, K = model.expert, model.K
        self.row_part = row_part_of(_without_columns(rows), model)
        macros = {"K": K, "FAMILY": expert.kernel_code, "LINK": LINKS[expert.link_name].code}
        self._prepare(model, rows, (K, K), 3 + 2 * K, macros)

    def packed(self, W, B, dispersion, constant):
        """As of `GLMPass`."""
        K = self.model.K
        scalars, gate_score, score, pairs, gram = self._sums(W, B, dispersion, constant)
        mass, extra = scalars[:, 3 : 3 + K], scalars[:, 3 + K :]
        sums = scalars[:, 0], gate_score, pairs, gram, score, mass, extra
        return tuple(map(np.ascontiguousarray, sums))

    def certainty(self, params):
        """(S, 2 + K) soft and hard entropies, and the experts' weights."""
        dispersion = params.expert.dispersion[:, :, 0]
        constant = self.model.expert.kernel_constant(dispersion)
        coef = params.expert.coef[:, :, 0]
        sets = params.gate.coef, coef, dispersion, constant
        scalars, *_ = self._sums(*sets, entropies=True)
        return scalars[:, 1 : 3 + self.model.K]


class DeviceMultinomialPass(DevicePass, MultinomialPass):
    """Softmax or constant gate over multinomial experts, on a device."""

    kernel_name = "softmax_multinomial_rows"
    n_vectors = 2

    def __init__(self, model, rows):
        K, self.C = model.K, max(model.n_classes, int(rows.y.max()) + 1)
        pairs = self.C * (self.C - 1) // 2
        macros = {"K": K, "C": self.C}
        self._prepare(model, rows, (K * self.C, K * pairs), 3 + K, macros)

    def packed(self, W, B, C):
        """As of `MultinomialPass`."""
        if self.C != C:  # kernels check no bounds
            raise ValueError(f"targets of {self.C} classes for experts of {C}")
        scalars, gate_score, score, gate_pairs, pairs = self._sums(W, B)
        mass = np.ascontiguousarray(scalars[:, 3:])
        return np.ascontiguousarray(scalars[:, 0]), gate_score, gate_pairs, score, pairs, mass

    def certainty(self, params):
        """(S, 2 + K) soft and hard entropies, and the experts' weights."""
        scalars, *_ = self._sums(params.gate.coef, params.expert.coef, entropies=True)
        return scalars[:, 1:]


def _without_columns(rows):
    return Rows(np.empty((rows.n, 0)), *rows[1:])


# (gate's kernel, expert's kernel): what the parts name in their attribute `kernel`
PASSES: dict[tuple, type] = {
    ("softmax", "glm"): DeviceGLMPass,
    ("softmax", "multinomial"): DeviceMultinomialPass,
}


def check_device(model: MoEModel, rows: Rows) -> None:
    """Refuse what engine ``gpu`` has no pass for.

    Raises
    ------
    ValueError
        It names what there is no pass for, and the way out.
    """
    gate, expert = type(model.gate).__name__, type(model.expert).__name__
    way_out = "Use engine='memory'."
    if (model.gate.kernel, model.expert.kernel) not in PASSES:
        raise ValueError(
            "engine='gpu' has passes for softmax and constant gates (without transform or "
            "temperature) over gaussian, poisson, binomial, gamma and multinomial experts; got "
            f"{gate} over {expert}. {way_out}"
        )
    if rows.y.shape[1] > 1:
        raise ValueError(
            f"engine='gpu' takes one response; y has {rows.y.shape[1]} columns. {way_out}"
        )
    for name, values in (("groups", rows.group), ("expert_prior", rows.prior)):
        if values is not None:
            raise ValueError(f"engine='gpu' does not take {name}=. {way_out}")


class GpuEngine:
    """Runs passes over rows on a device.

    Parameters
    ----------
    rows : DeviceRows
    model : MoEModel
    n_jobs : int
        Not used: the device has its own threads.
    """

    def __init__(self, rows: DeviceRows, model: MoEModel, n_jobs: int = 1):
        check_device(model, rows)
        self.rows, self.n_jobs = rows, n_jobs
        self.total_weight = rows.total_weight
        self.kernel = self._pass(model)

    def _pass(self, model):
        return PASSES[model.gate.kernel, model.expert.kernel](model, self.rows)

    def run(self, model: MoEModel, params) -> PassResult:
        """One pass for a batch of parameter sets: one array up, one down."""
        kernel = self.kernel if model is self.kernel.model else self._pass(model)
        return kernel.result(params)


@certainty.register
def _(engine: GpuEngine, model, params):
    return engine.kernel.certainty(stack([params]))[0]
