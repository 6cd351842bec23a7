"""Dispatch, two-layer experts and combine as one autograd function: the fast path of banks.

Against plain autograd it spares a node for each expert, the zero-filled gradients of slices of
the stacked weights, the concatenation of outputs and the (T, k, d) products of the combination:
matrix products write where their result belongs, rows are gathered run by run while they are in
cache, and gathered again in the backward pass, for which only the rows between the matrices are
kept, before and behind the activation.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd import forward_ad

from ..routing import Routing
from .memory import empty
from .mixing import combined_pairs
from .runs import Layout, Pairs, pairs_of
from .two_layer import TwoLayer, plain_two_layer


def takes_fast_path(x: Tensor, routing: Routing, parameters: list[Tensor]) -> bool:
    """Whether the fused function may be used: not for slots, nor under function transforms."""
    if routing.slot_expert is not None or routing.dispatch is not None:
        return False
    if torch._C._are_functorch_transforms_active():
        return False
    given = [x, routing.weight, *parameters]
    return all(forward_ad.unpack_dual(tensor).tangent is None for tensor in given)


def fused_mix(x: Tensor, routing: Routing, experts: TwoLayer) -> Tensor:
    """``sum_n weight_n f_n(x_{unit_n})`` for every unit, shape (T, d_out)."""
    device = x.device.type
    weight = routing.weight
    if torch.is_autocast_enabled(device):
        low = torch.get_autocast_dtype(device)
        x = x.to(low)
        experts = experts.with_tensors(t if t is None else t.to(low) for t in experts.tensors)
    if x.dtype != experts.w1.dtype:
        raise TypeError(
            f"units are in {x.dtype} and the experts' weights in {experts.w1.dtype}: give both one "
            "precision, by x.to(...) or layer.to(...)."
        )
    with torch.autocast(device, enabled=False):
        given = (x, weight.to(x.dtype), *experts.tensors)
        learns = torch.is_grad_enabled() and any(t is not None and t.requires_grad for t in given)
        return _FusedMix.apply(*given, experts, pairs_of(routing), learns)


class _FusedMix(torch.autograd.Function):
    """The fused function. Derivatives of its gradient are those of the plain one."""

    @staticmethod
    def forward(ctx: Any, x, weight, w1, w2, b1, b2, experts, pairs, learns):
        half = x.dtype in (torch.bfloat16, torch.float16)
        layout = Layout(pairs, half, 0 if experts.widths else w2[0].numel())
        outputs, z, act = _forward(x, experts, layout, keep=learns)
        ctx.save_for_backward(x, weight, w1, w2, b1, b2, z, act)
        # the kind alone: tensors are saved above, where hooks and version checks see them
        ctx.kind, ctx.pairs, ctx.layout = experts.with_tensors([None] * 4), pairs, layout
        return combined(outputs, layout.by_unit, pairs, weight)

    @staticmethod
    def backward(ctx: Any, grad):
        x, weight, *tensors, z, act = ctx.saved_tensors
        experts = ctx.kind.with_tensors(tensors)
        wanted = ctx.needs_input_grad[:6]
        if torch.is_grad_enabled():
            grads = _differentiable(grad, x, weight, experts, ctx.pairs, wanted)
        else:
            backward = _Backward(x, weight, experts, ctx.pairs, ctx.layout, wanted)
            grads = backward.run(grad.contiguous(), z, act)
        return *grads, None, None, None


def _differentiable(grad, x, weight, experts, pairs: Pairs, wanted) -> list[Tensor | None]:
    """The gradients by plain autograd, to be differentiated again."""
    rows = plain_two_layer(x[pairs.unit], pairs.counts, experts)
    y = combined_pairs(rows, pairs.unit, weight, len(x))
    given = [x, weight, *experts.tensors]
    asked = [tensor for tensor, want in zip(given, wanted) if want]
    found = iter(torch.autograd.grad(y, asked, grad, create_graph=True, materialize_grads=True))
    return [next(found) if want else None for want in wanted]


def combined(rows: Tensor, by_unit: Tensor, pairs: Pairs, weight: Tensor) -> Tensor:
    """Weighted sum of the pairs' rows for every unit, gather and sum in one pass."""
    if not len(by_unit):
        return rows.new_zeros(len(pairs.start), rows.shape[1])
    sample = torch.index_select(weight, 0, pairs.by_unit)
    return torch.embedding_bag(rows, by_unit, pairs.start, False, 0, False, sample, False)[0]


def _forward(x, experts: TwoLayer, layout: Layout, keep: bool) -> tuple[Tensor, Tensor, Tensor]:
    """Outputs of the rows, and what is between the matrices where the backward pass needs it."""
    first, second, shift1, shift2 = experts.of_runs(layout.runs)
    gathered = x.new_empty(layout.largest, x.shape[1])
    z, z_parts = _hidden(x, layout, [w.shape[-1] for w in first], keep)
    act, act_parts = _hidden(x, layout, [w.shape[-2] for w in second], keep)
    y = empty(x, (layout.n_rows, experts.w2.shape[-1]))
    parts = zip(layout.unit.split(layout.sizes), z_parts, act_parts, layout.cut(y))
    for r, (unit, inner, value, out) in enumerate(parts):
        rows = torch.index_select(x, 0, unit, out=gathered.narrow(0, 0, len(unit)))
        torch.bmm(rows.view(*inner.shape[:2], -1), first[r], out=inner)
        if shift1[r] is not None:
            inner += shift1[r]
        torch.bmm(experts.hidden.value(inner, value), second[r], out=out)
        if shift2[r] is not None:
            out += shift2[r]
    return y, z, act


def _hidden(x, layout: Layout, widths: list[int], keep: bool) -> tuple[Tensor, list[Tensor]]:
    """Memory for what is between the matrices, and each run's part: the same one if not kept."""
    numbers = [size * width for size, width in zip(layout.sizes, widths)]
    if keep:
        flat = empty(x, (sum(numbers),))
        return flat, layout.cut_flat(flat, widths)
    flat = x.new_empty(max(numbers, default=0))
    parts = zip(numbers, layout.runs, widths)
    return flat, [flat[:n].view(run.n, run.rows, width) for n, run, width in parts]


class _Backward:
    """Gradients of the fused function, run by run, each written where it belongs.

    The weight of a pair scales its row where that is narrower: the gradient of the output or the
    activation, the input or its gradient; the gradients of inputs are scaled as they are added.
    """

    def __init__(self, x, weight, experts: TwoLayer, pairs: Pairs, layout: Layout, wanted):
        self.x, self.weight, self.experts = x, weight, experts
        self.pairs, self.layout = pairs, layout
        self.to_x, self.to_weight, *self.to_tensors = wanted
        self.grads = [
            empty(tensor, tensor.shape) if tensor is not None and want else None
            for tensor, want in zip(experts.tensors, self.to_tensors)
        ]
        # views need a tensor of the shape, written or not
        places = experts.with_tensors(
            tensor if grad is None else grad for tensor, grad in zip(experts.tensors, self.grads)
        )
        self.places = places.of_runs(layout.runs)
        idle = [expert for expert, n in enumerate(pairs.counts) if not n]
        for views, grad in zip(places.views() if idle else (), self.grads):
            if grad is not None:
                for expert in idle:
                    views[expert].zero_()

    def run(self, grad: Tensor, z: Tensor, act: Tensor) -> list[Tensor | None]:
        """The gradients of x, weight, w1, w2, b1 and b2 for that of the outputs."""
        x, layout, experts = self.x, self.layout, self.experts
        first, second, _, shift2 = experts.of_runs(layout.runs)
        wide, narrow = [w.shape[-1] for w in first], [w.shape[-2] for w in second]
        inputs = x.new_empty(layout.largest, x.shape[1])
        # the rows' gradients of the output, then their inputs: one buffer where widths agree
        same = grad.shape[1] == x.shape[1]
        outer = inputs if same else x.new_empty(layout.largest, grad.shape[1])
        _, backs = _hidden(x, layout, narrow, keep=False)
        _, scaled = _hidden(x, layout, narrow, keep=False)
        inner = backs if experts.n_parts == 1 else _hidden(x, layout, wide, keep=False)[1]
        gx = empty(x, (layout.n_rows, x.shape[1])) if self.to_x else None
        gx_parts = [None] * len(layout.runs) if gx is None else layout.cut(gx)
        dots = x.new_empty(layout.n_rows)
        to_w1, _, to_b1, _ = self.to_tensors
        parts = zip(
            layout.unit.split(layout.sizes), layout.cut(layout.of_rows(self.weight)),
            layout.cut_flat(z, wide), layout.cut_flat(act, narrow), layout.cut(dots),
        )  # fmt: skip
        for r, (unit, weight, z_part, a, dot) in enumerate(parts):
            shape = (*weight.shape, -1)
            out = outer.narrow(0, 0, len(unit))
            torch.index_select(grad, 0, unit, out=out)
            out = out.view(shape)
            b = torch.bmm(out, second[r].mT, out=backs[r])
            if self.to_weight:
                # <g, a W2> = <g W2', a>: the outputs themselves need not be kept
                torch.sum(torch.mul(a, b, out=scaled[r]), -1, out=dot)
                if experts.b2 is not None:
                    dot += (out @ shift2[r].mT).squeeze(-1)
            self._to_second(r, weight, out, a, scaled[r])
            if not (self.to_x or to_w1 or to_b1):
                continue
            c = experts.hidden.pull(b, z_part, inner[r])
            if gx is not None:
                torch.bmm(c, first[r].mT, out=gx_parts[r])
            self._to_first(r, weight, unit, inputs.narrow(0, 0, len(unit)), c)
        to_x = None if gx is None else combined(gx, layout.by_unit, self.pairs, self.weight)
        return [to_x, layout.of_pairs(dots) if self.to_weight else None, *self.grads]

    def _to_second(self, r, weight, out, act, scaled) -> None:
        """Gradients of the second matrix and its bias."""
        _, to_w2, _, to_b2 = self.to_tensors
        if to_b2:
            torch.bmm(weight.unsqueeze(1), out, out=self.places[3][r])
        if to_w2:
            if act.shape[-1] < out.shape[-1]:
                act = torch.mul(act, weight.unsqueeze(-1), out=scaled)
            else:
                out.mul_(weight.unsqueeze(-1))
            torch.bmm(act.mT, out, out=self.places[1][r])

    def _to_first(self, r, weight, unit, rows, back) -> None:
        """Gradients of the first matrix and its bias."""
        to_w1, _, to_b1, _ = self.to_tensors
        if to_b1:
            torch.bmm(weight.unsqueeze(1), back, out=self.places[2][r])
        if to_w1:
            rows = torch.index_select(self.x, 0, unit, out=rows).view(*weight.shape, -1)
            narrower = back if back.shape[-1] < rows.shape[-1] else rows
            narrower.mul_(weight.unsqueeze(-1))
            torch.bmm(rows.mT, back, out=self.places[0][r])
