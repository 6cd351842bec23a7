"""`NeuronExperts`: a huge number of experts, each a single neuron."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from ..checks import check_option
from ..routing import Routing
from .activations import POINTWISE, Pointwise
from .base import ExpertBank
from .fused import takes_fast_path
from .mixing import combined_pairs

# pairs whose rows are gathered at once
CHUNK = 4096


class NeuronExperts(ExpertBank):
    """Experts ``act(<u_e, x>) v_e``: two vectors each, up to a million of them.

    The cost follows the number of pairs, whatever E: vectors are gathered and summed in one
    pass, and nothing of size T x E or N x d is made. With all experts chosen at weight one the
    bank is a dense layer of E hidden units.

    Parameters
    ----------
    n_experts, dim : int
    activation : {"gelu", "relu", "squared_relu", "silu", "sigmoid"}
    out_dim : int, optional
        Width of the output; ``dim`` by default.
    sparse : bool
        Whether the vectors' gradients are sparse tensors with the chosen experts alone, for
        `torch.optim.SGD`, `Adagrad` and `SparseAdam`.

    References
    ----------
    He, "Mixture of a million experts", 2024, section 2.
    """

    def __init__(
        self,
        n_experts: int,
        dim: int,
        *,
        activation: str = "gelu",
        out_dim: int | None = None,
        sparse: bool = False,
    ):
        super().__init__(n_experts, dim, dim if out_dim is None else out_dim)
        check_option("activation", activation, sorted(POINTWISE))
        self.activation = activation
        self.sparse = sparse
        self.u = nn.Parameter(torch.empty(n_experts, dim).normal_(std=dim**-0.5))
        self.v = nn.Parameter(torch.empty(n_experts, self.out_dim).normal_(std=self.out_dim**-0.5))

    @property
    def function(self) -> Pointwise:
        """The activation."""
        return POINTWISE[self.activation]

    def forward(self, rows: Tensor, counts: list[int]) -> Tensor:
        sizes = torch.tensor(counts, device=rows.device)
        expert = torch.repeat_interleave(torch.arange(self.n_experts, device=rows.device), sizes)
        return self._outputs(rows, expert)

    def every(self, x: Tensor) -> Tensor:
        return self.function.plain(self.u @ x.t())[:, :, None] * self.v[:, None]

    def _outputs(self, rows: Tensor, expert: Tensor) -> Tensor:
        inner = self.function.plain((rows * self.u[expert]).sum(-1))
        return inner[:, None] * self.v[expert]

    def mix(self, x: Tensor, routing: Routing) -> Tensor:
        if routing.slot_expert is not None:
            return super().mix(x, routing)
        plain = not takes_fast_path(x, routing, [self.u, self.v])
        if plain or torch.is_autocast_enabled(x.device.type) or not routing.n_pairs:
            outputs = self._outputs(x[routing.unit], routing.slot)
            return combined_pairs(outputs, routing.unit, routing.weight, routing.n_units)
        weight = routing.weight.to(x.dtype)
        return _NeuronMix.apply(x, weight, self.u, self.v, routing, self.function, self.sparse)


class _NeuronMix(torch.autograd.Function):
    """The sum over pairs. Derivatives of its gradient are those of the plain one."""

    @staticmethod
    def forward(ctx: Any, x, weight, u, v, routing, function, sparse):
        by_unit, by_expert = _Bags.of_units(routing), _Bags.of_experts(routing)
        inner = _dots(x, routing.unit, u, routing.slot)
        scale = weight * function.value(inner, torch.empty_like(inner))
        ctx.save_for_backward(x, weight, u, v, inner)
        ctx.rest = routing.unit, routing.slot, by_unit, by_expert, function, sparse
        return by_unit.sums(v, routing.slot, scale)

    @staticmethod
    def backward(ctx: Any, grad):
        x, weight, u, v, inner = ctx.saved_tensors
        unit, slot, by_unit, by_expert, function, sparse = ctx.rest
        if torch.is_grad_enabled():
            found = _differentiable(grad, (x, weight, u, v), unit, slot, function, ctx)
            return *found, None, None, None
        grad = grad.contiguous()
        act = function.value(inner, torch.empty_like(inner))
        dots = _dots(grad, unit, v, slot)
        back = function.pull(dots * weight, inner, torch.empty_like(inner))
        to_x, to_weight, to_u, to_v = ctx.needs_input_grad[:4]
        return (
            by_unit.sums(u, slot, back) if to_x else None,
            dots * act if to_weight else None,
            by_expert.table(x, unit, back, len(u), sparse) if to_u else None,
            by_expert.table(grad, unit, weight * act, len(v), sparse) if to_v else None,
            None, None, None,
        )  # fmt: skip


def _differentiable(grad, given, unit, slot, function, ctx):
    """The gradients by plain autograd, to be differentiated again."""
    x, weight, u, v = given
    act = function.plain((x[unit] * u[slot]).sum(-1))
    y = combined_pairs(act[:, None] * v[slot], unit, weight, len(x))
    wanted = ctx.needs_input_grad[:4]
    asked = [tensor for tensor, want in zip(given, wanted) if want]
    found = iter(torch.autograd.grad(y, asked, grad, create_graph=True, materialize_grads=True))
    return [next(found) if want else None for want in wanted]


def _dots(left: Tensor, rows: Tensor, right: Tensor, others: Tensor) -> Tensor:
    """``<left[rows_n], right[others_n]>`` for every pair, gathered in parts that fit the cache."""
    out = left.new_empty(len(rows))
    parts = zip(out.split(CHUNK), rows.split(CHUNK), others.split(CHUNK))
    for place, row, other in parts:
        a, b = torch.index_select(left, 0, row), torch.index_select(right, 0, other)
        place.copy_(torch.linalg.vecdot(a, b))
    return out


class _Bags:
    """Pairs in groups that are summed: those of a unit, or of an expert."""

    def __init__(self, order: Tensor | None, start: Tensor, ids: Any):
        self.order, self.start, self.ids = order, start, ids

    @classmethod
    def of_units(cls, routing: Routing):
        n_choices = torch.bincount(routing.unit, minlength=routing.n_units)
        return cls(routing.units_order(), n_choices.cumsum(0) - n_choices, None)

    @classmethod
    def of_experts(cls, routing: Routing):
        """Of the experts that occur; pairs are sorted by expert already."""
        ids, n_pairs = torch.unique_consecutive(routing.slot, return_counts=True)
        return cls(None, n_pairs.cumsum(0) - n_pairs, ids)

    def sums(self, table: Tensor, rows: Tensor, scale: Tensor) -> Tensor:
        """``sum_n scale_n table[rows_n]`` over each group."""
        if self.order is not None:
            rows, scale = rows[self.order], scale[self.order]
        return torch.embedding_bag(table, rows, self.start, False, 0, False, scale, False)[0]

    def table(self, source: Tensor, rows: Tensor, scale: Tensor, n: int, sparse: bool) -> Tensor:
        """The sums over each expert as a gradient of n rows."""
        found, ids = self.sums(source, rows, scale), self.ids
        if sparse:
            shape = (n, found.shape[1])
            place = ids[None]
            # distinct and ascending by construction
            return torch.sparse_coo_tensor(
                place, found, shape, is_coalesced=True, check_invariants=False
            )
        return found.new_zeros(n, found.shape[1]).index_copy_(0, ids, found)
