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
from .activations import Hidden
from .memory import empty_like
from .mixing import combined_pairs, split_rows

# oneDNN compiles a kernel for every new number of rows in half precision, which costs more than
# the product: numbers of rows are rounded up to this multiple
HALF_ROWS = 32


class TwoLayer(NamedTuple):
    """Stacked weights of two-layer experts and the map between the layers.

    Parameters
    ----------
    hidden : Hidden
    w1 : Tensor of shape (E, d, n_parts * h)
    w2 : Tensor of shape (E, h, d_out)
    b1, b2 : Tensor of shape (E, n_parts * h) and (E, d_out), or None
    """

    hidden: Hidden
    w1: Tensor
    w2: Tensor
    b1: Tensor | None
    b2: Tensor | None


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


def plain_two_layer(rows: Tensor, counts: list[int], experts: TwoLayer) -> Tensor:
    """Outputs for rows sorted by expert, by plain autograd."""
    # unbind once: indexing a stacked parameter expert by expert would build a gradient of the
    # full stack for each of them
    first, second, shift1, shift2 = (
        [None] * len(counts) if stack is None else stack.unbind(0) for stack in experts[1:]
    )
    outputs = []
    for e, part in enumerate(split_rows(rows, counts)):
        inner = experts.hidden.plain(_affine(part, first[e], shift1[e]))
        outputs.append(_affine(inner, second[e], shift2[e]))
    return torch.cat(outputs)


def _affine(rows: Tensor, weight: Tensor, shift: Tensor | None) -> Tensor:
    return rows @ weight if shift is None else torch.addmm(shift, rows, weight)


def fused_mix(x: Tensor, routing: Routing, experts: TwoLayer) -> Tensor:
    """``sum_n weight_n f_n(x_{unit_n})`` for every unit, shape (T, d_out)."""
    device = x.device.type
    weight = routing.weight
    if torch.is_autocast_enabled(device):
        low = torch.get_autocast_dtype(device)
        stacks = [None if t is None else t.to(low) for t in experts[1:]]
        x, experts = x.to(low), TwoLayer(experts.hidden, *stacks)
    with torch.autocast(device, enabled=False):
        weight = weight.to(x.dtype)
        given = (x, weight, *experts[1:])
        learns = torch.is_grad_enabled() and any(t is not None and t.requires_grad for t in given)
        return _FusedMix.apply(*given, experts.hidden, pairs_of(routing), learns)


class _FusedMix(torch.autograd.Function):
    """The fused function. Derivatives of its gradient are those of the plain one."""

    @staticmethod
    def forward(ctx: Any, x, weight, w1, w2, b1, b2, hidden, pairs, learns):
        experts = TwoLayer(hidden, w1, w2, b1, b2)
        outputs, z = _forward(x, experts, pairs, keep=learns)
        ctx.save_for_backward(x, weight, w1, w2, b1, b2, z)
        ctx.hidden, ctx.pairs = hidden, pairs
        return combined(outputs, pairs, weight)

    @staticmethod
    def backward(ctx: Any, grad):
        *given, z = ctx.saved_tensors
        wanted = ctx.needs_input_grad[:6]
        if torch.is_grad_enabled():
            grads = _differentiable(grad, given, wanted, ctx.hidden, ctx.pairs)
        else:
            x, weight, *stacks = given
            experts = TwoLayer(ctx.hidden, *stacks)
            grads = _Backward(x, weight, experts, ctx.pairs, z, wanted).run(grad.contiguous())
        return *grads, None, None, None


def _differentiable(grad, given, wanted, hidden, pairs: Pairs) -> list[Tensor | None]:
    """The gradients by plain autograd, to be differentiated again."""
    x, weight, *stacks = given
    rows = plain_two_layer(x[pairs.unit], pairs.counts, TwoLayer(hidden, *stacks))
    y = combined_pairs(rows, pairs.unit, weight, len(x))
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

    In half precision the products of an expert take some rows of the next one too, so that their
    number is a multiple of `HALF_ROWS`; experts go in ascending order, so that what is written
    over is what comes later.
    """

    def __init__(self, pairs: Pairs, dtype: torch.dtype):
        self.multiple = HALF_ROWS if dtype in (torch.bfloat16, torch.float16) else 1
        self.n_padded = len(pairs.unit) + self.multiple - 1
        self.counts = pairs.counts
        self.largest = self.padded(max(pairs.counts, default=0))
        self.unit = pairs.unit
        if self.multiple > 1:
            self.unit = torch.cat([pairs.unit, pairs.unit.new_zeros(self.multiple - 1)])

    def padded(self, n: int) -> int:
        return -(-n // self.multiple) * self.multiple

    def __iter__(self):
        """Expert, first row, number of rows, and that number rounded up, of those with rows."""
        begin = 0
        for expert, n in enumerate(self.counts):
            if n:
                yield expert, begin, n, self.padded(n)
                begin += n


def _forward(x, experts: TwoLayer, pairs: Pairs, keep: bool) -> tuple[Tensor, Tensor]:
    """Outputs of the pairs, and the first product where it is kept for the backward pass."""
    hidden, w1, w2, b1, b2 = experts
    spans = Spans(pairs, x.dtype)
    rows = x.new_empty(spans.largest, x.shape[1])
    inner = x.new_empty(spans.largest, w2.shape[1])
    z = x.new_empty(spans.n_padded if keep else spans.largest, w1.shape[2])
    y = x.new_empty(spans.n_padded, w2.shape[2])
    first, second = w1.unbind(0), w2.unbind(0)
    for e, begin, _, m in spans:
        part, act = rows[:m], inner[:m]
        torch.index_select(x, 0, spans.unit[begin : begin + m], out=part)
        place = z[begin : begin + m] if keep else z[:m]
        torch.mm(part, first[e], out=place)
        if b1 is not None:
            place += b1[e]
        hidden.value(place, act)
        torch.mm(act, second[e], out=y[begin : begin + m])
        if b2 is not None:
            y[begin : begin + m] += b2[e]
    return y, z


class _Backward:
    """Gradients of the fused function, expert by expert, each written where it belongs.

    The weight of a pair scales its row where that is narrower: the gradient of the output or the
    activation, the input or its gradient; the gradients of inputs are scaled as they are added.
    """

    def __init__(self, x, weight, experts: TwoLayer, pairs: Pairs, z, wanted):
        self.x, self.weight, self.experts, self.pairs, self.z = x, weight, experts, pairs, z
        self.spans = Spans(pairs, x.dtype)
        self.to_x, self.to_weight, self.to_w1, self.to_w2, self.to_b1, self.to_b2 = wanted
        empty = [e for e, n in enumerate(pairs.counts) if not n]
        self.grads: dict[str, Tensor] = {}
        self.places: dict[str, tuple[Tensor, ...]] = {}
        for name, want in zip(("w1", "w2", "b1", "b2"), wanted[2:]):
            if want:
                self.grads[name] = empty_like(getattr(experts, name))
                self.places[name] = self.grads[name].unbind(0)
                for e in empty:
                    self.places[name][e].zero_()
        if self.to_weight:
            self.grads["weight"] = torch.empty_like(weight)

    def run(self, grad: Tensor) -> list[Tensor | None]:
        """The gradients of x, weight, w1, w2, b1 and b2 for that of the outputs."""
        x, spans, hidden = self.x, self.spans, self.experts.hidden
        _, w1, w2, _, _ = self.experts
        inputs = x.new_empty(spans.largest, x.shape[1])
        # the rows' gradients of the output, then their inputs: one buffer where widths agree
        outer = inputs if w2.shape[2] == x.shape[1] else x.new_empty(spans.largest, w2.shape[2])
        act, back = (x.new_empty(spans.largest, w2.shape[1]) for _ in range(2))
        gz = back
        if w1.shape[2] != w2.shape[1]:
            gz = x.new_empty(spans.largest, w1.shape[2])
        gx = x.new_empty(spans.n_padded, x.shape[1]) if self.to_x else None
        # views are made in bulk or by narrow: with many small experts their cost is felt
        first, second = w1.transpose(1, 2).unbind(0), w2.transpose(1, 2).unbind(0)
        for e, begin, n, m in spans:
            unit, z = spans.unit.narrow(0, begin, m), self.z.narrow(0, begin, m)
            out, a, b, c = (buffer.narrow(0, 0, m) for buffer in (outer, act, back, gz))
            weight = self.weight.narrow(0, begin, n)
            torch.index_select(grad, 0, unit, out=out)
            torch.mm(out, second[e], out=b)
            if self.to_weight or self.to_w2:
                hidden.value(z, a)
            if self.to_weight:
                self._to_weight(e, begin, n, out, a, b)
            self._to_second(e, weight, out, a)
            if not (self.to_x or self.to_w1 or self.to_b1):
                continue
            hidden.pull(b, z, c)
            if gx is not None:
                torch.mm(c, first[e], out=gx.narrow(0, begin, m))
            if self.to_w1 or self.to_b1:
                self._to_first(e, weight, unit, inputs.narrow(0, 0, m), c)
        found: list[Tensor | None] = [None if gx is None else combined(gx, self.pairs, self.weight)]
        return found + [self.grads.get(name) for name in ("weight", "w1", "w2", "b1", "b2")]

    def _to_weight(self, e, begin, n, out, act, back) -> None:
        # <g, a W2> = <g W2', a>: the outputs themselves need not be kept
        product = torch.linalg.vecdot(back.narrow(0, 0, n), act.narrow(0, 0, n))
        if self.experts.b2 is not None:
            product += out.narrow(0, 0, n) @ self.experts.b2[e]
        self.grads["weight"].narrow(0, begin, n).copy_(product)

    def _to_second(self, e, weight, out, act) -> None:
        """Gradients of the second matrix and its bias."""
        if self.to_b2:
            torch.mv(out[: len(weight)].t(), weight, out=self.places["b2"][e])
        if self.to_w2:
            _scale(act if act.shape[1] < out.shape[1] else out, weight)
            _product(act, out, len(weight), self.places["w2"][e])

    def _to_first(self, e, weight, unit, rows, gz) -> None:
        """Gradients of the first matrix and its bias."""
        if self.to_b1:
            torch.mv(gz[: len(weight)].t(), weight, out=self.places["b1"][e])
        if self.to_w1:
            torch.index_select(self.x, 0, unit, out=rows)
            _scale(gz if gz.shape[1] < rows.shape[1] else rows, weight)
            _product(rows, gz, len(weight), self.places["w1"][e])


def _product(left: Tensor, right: Tensor, n: int, out: Tensor) -> None:
    """``left' right`` of the first n rows; the rows behind them are another expert's."""
    if len(left) > n:
        left[n:], right[n:] = 0, 0
    torch.mm(left.t(), right, out=out)


def _scale(rows: Tensor, weight: Tensor) -> None:
    """Rows times weights, in place; rows behind the weights stay."""
    rows.narrow(0, 0, len(weight)).mul_(weight.unsqueeze(1))
