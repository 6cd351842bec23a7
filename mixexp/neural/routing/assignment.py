"""`Routing`: the sparse assignment of units to experts that a router returns."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from .inputs import RoutingInputs
from .select import count, stable_order
from .stats import RoutingStats, collect


@dataclass(frozen=True, eq=False)
class Routing:
    """N pairs (unit, slot) with weights, sorted by expert, then unit. Returned, never stored.

    Without ``slot_expert`` a slot is an expert and every pair is a row of its own for that expert:
    the output of a unit is ``sum_n weight_n * f_{slot_n}(x_unit)``. With it (soft and token-mixing
    routers) the rows of the experts are mixtures of units: slot s holds
    ``sum_n dispatch_n * x_{unit_n}`` over its pairs and belongs to expert ``slot_expert[s]``.

    Parameters
    ----------
    unit, slot : LongTensor of shape (N,)
    weight : Tensor of shape (N,)
        Combine weights, float32 (float64 for inputs of float64), differentiable.
    n_units, n_experts : int
    stats : RoutingStats
    dispatch : Tensor of shape (N,) or None
        How much of the unit enters the slot; None for all of it.
    slot_expert : LongTensor of shape (S,) or None
        Expert of each slot, in ascending order; None where a slot is an expert.
    rank : LongTensor of shape (N,) or None
        0 for a unit's first choice, and so on.
    priority : Tensor of shape (N,) or None
        What a `CapacityLimiter` may order pairs by; None for the weight.
    residual : Tensor of shape (T,) or None
        Weight of the identity path; None for none.
    logits, probs : Tensor of shape (T, E) or None
        Scores and probabilities as losses use them: masked, without sampling noise.
    losses : dict of str to Tensor
        Losses of the router's own, unscaled, by name.
    state : any
        What the next layer's router is given.
    by_unit : LongTensor of shape (N,) or None
        Positions of the pairs in the order of units, where the router knows them.
    """

    unit: Tensor
    slot: Tensor
    weight: Tensor
    n_units: int
    n_experts: int
    stats: RoutingStats
    dispatch: Tensor | None = None
    slot_expert: Tensor | None = None
    rank: Tensor | None = None
    priority: Tensor | None = None
    residual: Tensor | None = None
    logits: Tensor | None = None
    probs: Tensor | None = None
    losses: dict[str, Tensor] = field(default_factory=dict)
    state: Any = None
    by_unit: Tensor | None = None

    @property
    def n_pairs(self) -> int:
        """N, the number of pairs."""
        return len(self.unit)

    @property
    def expert(self) -> Tensor:
        """Expert of each pair, shape (N,), ascending."""
        return self.slot if self.slot_expert is None else self.slot_expert[self.slot]

    @property
    def counts(self) -> Tensor:
        """Rows that each expert computes, shape (E,): pairs, or slots where units are mixed."""
        rows = self.slot if self.slot_expert is None else self.slot_expert
        return count(rows, self.n_experts)

    def units_order(self) -> Tensor:
        """Positions of the pairs in the order of their units, shape (N,)."""
        return stable_order(self.unit, self.n_units) if self.by_unit is None else self.by_unit

    def weights(self) -> Tensor:
        """The combine weights as a dense matrix of shape (T, E), zero where not chosen."""
        dense = self.weight.new_zeros(self.n_units * self.n_experts)
        dense = dense.index_add(0, self.unit * self.n_experts + self.expert, self.weight)
        return dense.view(self.n_units, self.n_experts)

    def replace(self, **changes) -> Routing:
        """The same routing with some fields exchanged."""
        return replace(self, **changes)

    def taken(self, index: Tensor | slice, *names: str) -> dict[str, Any]:
        """Entries of some fields, by name; None where the routing has none."""
        held = {name: getattr(self, name) for name in names}
        return {name: None if value is None else value[index] for name, value in held.items()}

    def select(self, keep: Tensor) -> Routing:
        """The routing with the pairs where ``keep``, of shape (N,), is True; the rest is dropped.

        ``stats.counts`` stay those of the router's choice; ``stats.n_dropped`` counts what went.
        """
        dropped = self.stats.n_dropped
        lost = (~keep).sum().to(self.weight.dtype)
        stats = self.stats.replace(n_dropped=lost if dropped is None else dropped + lost)
        return replace(
            self,
            unit=self.unit[keep],
            slot=self.slot[keep],
            weight=self.weight[keep],
            by_unit=None,
            stats=stats,
            **self.taken(keep, "dispatch", "rank", "priority"),
        )


def from_choices(
    inputs: RoutingInputs,
    n_experts: int,
    expert: Tensor,
    weight: Tensor,
    *,
    keep: Tensor | None = None,
    probs: Tensor | None = None,
    logits: Tensor | None = None,
    **fields,
) -> Routing:
    """The routing of k choices a unit, best first.

    Parameters
    ----------
    expert, weight : Tensor of shape (T, k)
    keep : BoolTensor of shape (T, k), optional
        Choices that count; others are left out.
    probs, logits : Tensor of shape (T, E), optional
    **fields
        Further fields of `Routing`.
    """
    k = expert.shape[1]
    if inputs.valid is not None:
        real = inputs.valid[:, None].expand_as(expert)
        keep = real if keep is None else keep & real
    flat, weights = expert.reshape(-1), weight.reshape(-1)
    if keep is not None:
        place = keep.reshape(-1).nonzero().squeeze(1)
        flat, weights = flat[place], weights[place]
    order = stable_order(flat, n_experts)
    place = order if keep is None else place[order]
    by_unit = torch.empty_like(order)
    by_unit[order] = torch.arange(order.shape[0], device=order.device)
    unit, rank = place // max(k, 1), place % max(k, 1)
    return _assembled(
        inputs, n_experts, unit, flat[order], weights[order], rank == 0, probs, logits,
        rank=rank, by_unit=by_unit, **fields,
    )  # fmt: skip


def from_mask(
    inputs: RoutingInputs,
    chosen: Tensor,
    weight: Tensor,
    *,
    probs: Tensor | None = None,
    logits: Tensor | None = None,
    **fields,
) -> Routing:
    """The routing of a boolean matrix of choices, any number a unit.

    Parameters
    ----------
    chosen : BoolTensor of shape (T, E)
    weight : Tensor of shape (T, E)
    probs, logits : Tensor of shape (T, E), optional
    **fields
        Further fields of `Routing`.
    """
    if inputs.valid is not None:
        chosen = chosen & inputs.valid[:, None]
    expert, unit = chosen.T.nonzero(as_tuple=True)
    ranked = torch.where(chosen, weight.detach(), -torch.inf)
    order = torch.argsort(ranked, dim=1, descending=True, stable=True)
    ranks = torch.empty_like(order)
    places = torch.arange(chosen.shape[1], device=order.device).expand_as(order)
    ranks.scatter_(1, order, places)
    rank = ranks[unit, expert]
    return _assembled(
        inputs, chosen.shape[1], unit, expert, weight[unit, expert], rank == 0, probs, logits,
        rank=rank, **fields,
    )  # fmt: skip


def _assembled(inputs, n_experts, unit, expert, weight, first, probs, logits, **fields) -> Routing:
    """The routing of sorted pairs, with its statistics."""
    stats = fields.pop("stats", None) or collect(
        n_experts, unit, expert, weight, first,
        n_units=inputs.n_units, valid=inputs.valid, segment=inputs.segment,
        probs=probs, logits=logits,
    )  # fmt: skip
    return Routing(
        unit, expert, weight, inputs.n_units, n_experts, stats, probs=probs, logits=logits, **fields
    )


def expand(routing: Routing, inputs: RoutingInputs, item: Tensor) -> Routing:
    """A routing of items (sequences, tasks) as a routing of the units that belong to them.

    Parameters
    ----------
    routing : Routing
        Of the items, with a row of its state for each; its statistics, which count items, are
        kept.
    inputs : RoutingInputs
        Of the T units.
    item : LongTensor of shape (T,)
        The item of each unit.
    """
    by_item = routing.units_order()
    n_choices = count(routing.unit, routing.n_units)
    start = torch.cumsum(n_choices, 0) - n_choices
    lengths = n_choices[item]
    if inputs.valid is not None:
        lengths = torch.where(inputs.valid, lengths, 0)
    unit = torch.repeat_interleave(torch.arange(len(item), device=item.device), lengths)
    within = torch.arange(len(unit), device=item.device)
    within = within - (torch.cumsum(lengths, 0) - lengths)[unit]
    row = by_item[start[item[unit]] + within]
    order = stable_order(routing.expert[row], routing.n_experts)
    row, unit = row[order], unit[order]
    return routing.replace(
        unit=unit,
        slot=routing.expert[row],
        weight=routing.weight[row],
        n_units=len(item),
        by_unit=None,
        **routing.taken(row, "rank", "priority"),
        **routing.taken(item, "logits", "probs", "residual", "state"),
    )
