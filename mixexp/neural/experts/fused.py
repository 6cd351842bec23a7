"""Dispatch, two-layer experts and combine as one autograd function: the fast path of banks.

Against plain autograd it spares a node for each expert, the zero-filled gradients of slices of
the stacked weights, the concatenation of outputs and the (T, k, d) products of the combination:
matrix products write where their result belongs, rows are gathered expert by expert while they
are in cache, and only the first product is kept for the backward pass.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd import forward_ad

from ..routing import Routing
from ..routing.select import count
from .mixing import combined_pairs
from .two_layer import TwoLayer, plain_two_layer

# oneDNN compiles a kernel for every new number of rows in half precision, which costs more than
# the product: numbers of rows are rounded up to this multiple, and large ones to a 32nd of
# the next power of two, so that few of them occur
HALF_ROWS = 32


class Pairs(NamedTuple):
    """N pairs sorted by expert: the part of a `Routing` that the experts need.

    Parameters
    ----------
    unit : LongTensor of shape (N,)
    by_unit : LongTensor of shape (N,)
        Positions of the pairs in the order of units.
    start : LongTensor of shape (T,)
        Where each unit begins in that order.
    counts : list of int
        Pairs of each expert.
    """

    unit: Tensor
    by_unit: Tensor
    start: Tensor
    counts: list[int]


def pairs_of(routing: Routing) -> Pairs:
    """The pairs of a routing without slots."""
    n_choices = count(routing.unit, routing.n_units)
    start = torch.cumsum(n_choices, 0).sub_(n_choices)
    return Pairs(routing.unit, routing.units_order(), start, routing.counts.tolist())


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
    with torch.autocast(device, enabled=False):
        given = (x, weight.to(x.dtype), *experts.tensors)
        learns = torch.is_grad_enabled() and any(t is not None and t.requires_grad for t in given)
        return _FusedMix.apply(*given, experts, pairs_of(routing), learns)


class _FusedMix(torch.autograd.Function):
    """The fused function. Derivatives of its gradient are those of the plain one."""

    @staticmethod
    def forward(ctx: Any, x, weight, w1, w2, b1, b2, experts, pairs, learns):
        outputs, z = _forward(x, experts, pairs, keep=learns)
        ctx.save_for_backward(x, weight, w1, w2, b1, b2, z)
        # the kind alone: tensors are saved above, where hooks and version checks see them
        ctx.kind, ctx.pairs = experts.with_tensors([None] * 4), pairs
        return combined(outputs, pairs, weight)

    @staticmethod
    def backward(ctx: Any, grad):
        x, weight, *tensors, z = ctx.saved_tensors
        experts = ctx.kind.with_tensors(tensors)
        wanted = ctx.needs_input_grad[:6]
        if torch.is_grad_enabled():
            grads = _differentiable(grad, x, weight, experts, ctx.pairs, wanted)
        else:
            grads = _Backward(x, weight, experts, ctx.pairs, z, wanted).run(grad.contiguous())
        return *grads, None, None, None


def _differentiable(grad, x, weight, experts, pairs: Pairs, wanted) -> list[Tensor | None]:
    """The gradients by plain autograd, to be differentiated again."""
    rows = plain_two_layer(x[pairs.unit], pairs.counts, experts)
    y = combined_pairs(rows, pairs.unit, weight, len(x))
    given = [x, weight, *experts.tensors]
    asked = [tensor for tensor, want in zip(given, wanted) if want]
    found = iter(torch.autograd.grad(y, asked, grad, create_graph=True, materialize_grads=True))
    return [next(found) if want else None for want in wanted]


def combined(outputs: Tensor, pairs: Pairs, weight: Tensor | None = None) -> Tensor:
    """Weighted sum of the pairs' outputs for every unit, gather and sum in one pass."""
    if not len(pairs.unit):
        return outputs.new_zeros(len(pairs.start), outputs.shape[1])
    sample = None if weight is None else torch.index_select(weight, 0, pairs.by_unit)
    return torch.embedding_bag(
        outputs, pairs.by_unit, pairs.start, False, 0, False, sample, False
    )[0]  # fmt: skip


class Spans:
    """Rows of each expert among the sorted pairs.

    In half precision the products of an expert take some rows of the next ones too, so that their
    number is one of few; experts go in ascending order, so that what is written over is what
    comes later.
    """

    def __init__(self, pairs: Pairs, dtype: torch.dtype):
        self.rounds = dtype in (torch.bfloat16, torch.float16)
        self.counts = pairs.counts
        self.largest = self.padded(max(pairs.counts, default=0))
        self.behind = max((self.padded(n) - n for n in pairs.counts), default=0)
        self.n_padded = len(pairs.unit) + self.behind
        self.unit = pairs.unit
        if self.behind:
            self.unit = torch.cat([pairs.unit, pairs.unit.new_zeros(self.behind)])

    def padded(self, n: int) -> int:
        """The number of rows that are computed for an expert with n."""
        if not self.rounds:
            return n
        multiple = max(HALF_ROWS, 2 ** max(n - 1, 0).bit_length() // 32)
        return -(-n // multiple) * multiple

    def __iter__(self):
        """Expert, first row, number of rows, and that number rounded up, of those with rows."""
        begin = 0
        for expert, n in enumerate(self.counts):
            if n:
                yield expert, begin, n, self.padded(n)
                begin += n


def _forward(x, experts: TwoLayer, pairs: Pairs, keep: bool) -> tuple[Tensor, Tensor]:
    """Outputs of the pairs, and the first product where it is kept for the backward pass."""
    spans = Spans(pairs, x.dtype)
    first, second, shift1, shift2 = experts.views()
    rows = x.new_empty(spans.largest, x.shape[1])
    inner = x.new_empty(spans.largest * experts.widest)
    z = x.new_empty(_size_of_z(experts, spans) if keep else len(inner) * experts.n_parts)
    y = x.new_empty(spans.n_padded, experts.w2.shape[-1])
    place = 0
    for e, begin, n, m in spans:
        part, (h, wide) = rows.narrow(0, 0, m), (second[e].shape[0], first[e].shape[1])
        torch.index_select(x, 0, spans.unit.narrow(0, begin, m), out=part)
        product = z.narrow(0, place, m * wide).view(m, wide)
        torch.mm(part, first[e], out=product)
        if shift1[e] is not None:
            product += shift1[e]
        act = experts.hidden.value(product, inner.narrow(0, 0, m * h).view(m, h))
        out = torch.mm(act, second[e], out=y.narrow(0, begin, m))
        if shift2[e] is not None:
            out += shift2[e]
        place += n * wide if keep else 0
    return y, z


def _size_of_z(experts: TwoLayer, spans: Spans) -> int:
    """Numbers in the first products of all experts, the rows behind the last included."""
    widths = experts.widths or [experts.widest] * len(spans.counts)
    rows = sum(n * h for n, h in zip(spans.counts, widths))
    return experts.n_parts * (rows + spans.behind * experts.widest)


class _Backward:
    """Gradients of the fused function, expert by expert, each written where it belongs.

    The weight of a pair scales its row where that is narrower: the gradient of the output or the
    activation, the input or its gradient; the gradients of inputs are scaled as they are added.
    """

    def __init__(self, x, weight, experts: TwoLayer, pairs: Pairs, z, wanted):
        self.x, self.weight, self.experts, self.pairs, self.z = x, weight, experts, pairs, z
        self.spans = Spans(pairs, x.dtype)
        self.to_x, self.to_weight, *self.to_tensors = wanted
        self.grads = [
            torch.empty_like(tensor) if tensor is not None and want else None
            for tensor, want in zip(experts.tensors, self.to_tensors)
        ]
        self.places = experts.with_tensors(
            # views need a tensor of the shape, written or not
            tensor if grad is None else grad
            for tensor, grad in zip(experts.tensors, self.grads)
        ).views()
        for places, grad in zip(self.places, self.grads):
            if grad is not None:
                for place, n in zip(places, pairs.counts):
                    if not n:
                        place.zero_()
        self.to_weights = torch.empty_like(weight)

    def run(self, grad: Tensor) -> list[Tensor | None]:
        """The gradients of x, weight, w1, w2, b1 and b2 for that of the outputs."""
        x, spans, experts = self.x, self.spans, self.experts
        first, second, *_ = experts.views()
        inputs = x.new_empty(spans.largest, x.shape[1])
        # the rows' gradients of the output, then their inputs: one buffer where widths agree
        same = grad.shape[1] == x.shape[1]
        outer = inputs if same else x.new_empty(spans.largest, grad.shape[1])
        act, back = (x.new_empty(spans.largest * experts.widest) for _ in range(2))
        gz = back if experts.n_parts == 1 else x.new_empty(experts.n_parts * len(back))
        gx = x.new_empty(spans.n_padded, x.shape[1]) if self.to_x else None
        to_w1, to_w2, to_b1, _ = self.to_tensors
        place = 0
        for e, begin, n, m in spans:
            h, wide = second[e].shape[0], first[e].shape[1]
            unit, weight = spans.unit.narrow(0, begin, m), self.weight.narrow(0, begin, n)
            z = self.z.narrow(0, place, m * wide).view(m, wide)
            out = outer.narrow(0, 0, m)
            a, b = (buffer.narrow(0, 0, m * h).view(m, h) for buffer in (act, back))
            torch.index_select(grad, 0, unit, out=out)
            torch.mm(out, second[e].t(), out=b)
            if self.to_weight or to_w2:
                experts.hidden.value(z, a)
            if self.to_weight:
                self._to_weight(e, begin, n, out, a, b)
            self._to_second(e, weight, out, a)
            place += n * wide
            if not (self.to_x or to_w1 or to_b1):
                continue
            c = experts.hidden.pull(b, z, gz.narrow(0, 0, m * wide).view(m, wide))
            if gx is not None:
                torch.mm(c, first[e].t(), out=gx.narrow(0, begin, m))
            self._to_first(e, weight, unit, inputs.narrow(0, 0, m), c)
        to_x = None if gx is None else combined(gx, self.pairs, self.weight)
        return [to_x, self.to_weights if self.to_weight else None, *self.grads]

    def _to_weight(self, e, begin, n, out, act, back) -> None:
        # <g, a W2> = <g W2', a>: the outputs themselves need not be kept
        product = torch.linalg.vecdot(back.narrow(0, 0, n), act.narrow(0, 0, n))
        if self.experts.b2 is not None:
            product += out.narrow(0, 0, n) @ self.experts.b2[e]
        self.to_weights.narrow(0, begin, n).copy_(product)

    def _to_second(self, e, weight, out, act) -> None:
        """Gradients of the second matrix and its bias."""
        _, to_w2, _, to_b2 = self.to_tensors
        if to_b2:
            torch.mv(out[: len(weight)].t(), weight, out=self.places[3][e])
        if to_w2:
            _scale(act if act.shape[1] < out.shape[1] else out, weight)
            _product(act, out, len(weight), self.places[1][e])

    def _to_first(self, e, weight, unit, rows, gz) -> None:
        """Gradients of the first matrix and its bias."""
        to_w1, _, to_b1, _ = self.to_tensors
        if to_b1:
            torch.mv(gz[: len(weight)].t(), weight, out=self.places[2][e])
        if to_w1:
            torch.index_select(self.x, 0, unit, out=rows)
            _scale(gz if gz.shape[1] < rows.shape[1] else rows, weight)
            _product(rows, gz, len(weight), self.places[0][e])


def _product(left: Tensor, right: Tensor, n: int, out: Tensor) -> None:
    """``left' right`` of the first n rows; the rows behind them are another expert's."""
    if len(left) > n:
        left[n:], right[n:] = 0, 0
    torch.mm(left.t(), right, out=out)


def _scale(rows: Tensor, weight: Tensor) -> None:
    """Rows times weights, in place; rows behind the weights stay."""
    rows.narrow(0, 0, len(weight)).mul_(weight.unsqueeze(1))
