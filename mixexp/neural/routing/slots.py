"""What slot routers share: routings whose experts compute mixtures of units."""

from __future__ import annotations

import torch
from torch import Tensor

from .assignment import Routing
from .inputs import RoutingInputs
from .select import stable_order
from .stats import collect


def softmax_within(scores: Tensor, item: Tensor, n_items: int) -> Tensor:
    """Softmax along the units of each item, column by column, for scores of shape (T, S).

    Parameters
    ----------
    scores : Tensor of shape (T, S)
        Minus infinity where a unit takes no part.
    item : LongTensor of shape (T,)
        Segment or group of each unit, from 0 to ``n_items - 1``.
    """
    place = item[:, None].expand_as(scores)
    top = scores.new_full((n_items, scores.shape[1]), -torch.inf)
    top = top.scatter_reduce(0, place, scores.detach(), "amax")
    top = torch.where(top > -torch.inf, top, 0.0)
    powers = (scores - top[item]).exp()
    total = torch.zeros_like(top).index_add(0, item, powers)
    return powers / total.clamp_min(torch.finfo(scores.dtype).tiny)[item]


def from_slots(
    inputs: RoutingInputs,
    n_experts: int,
    unit: Tensor,
    slot: Tensor,
    slot_expert: Tensor,
    dispatch: Tensor,
    weight: Tensor,
    first: Tensor,
    *,
    probs: Tensor | None = None,
    logits: Tensor | None = None,
) -> Routing:
    """The routing of N pairs of units and slots; slots without a unit are left out.

    Parameters
    ----------
    unit, slot : LongTensor of shape (N,)
        In any order in which each expert's units ascend.
    slot_expert : LongTensor of shape (S,)
        Ascending.
    dispatch, weight : Tensor of shape (N,)
    first : BoolTensor of shape (N,)
        Whether the pair is its unit's largest.
    probs, logits : Tensor of shape (T, E), optional
    """
    used, slot = torch.unique(slot, return_inverse=True)
    slot_expert = slot_expert[used]
    order = stable_order(slot_expert[slot], n_experts)
    unit, slot, weight = unit[order], slot[order], weight[order]
    stats = collect(
        n_experts, unit, slot_expert[slot], weight, first[order],
        n_units=inputs.n_units, valid=inputs.valid, segment=inputs.segment,
        probs=probs, logits=logits,
    )  # fmt: skip
    return Routing(
        unit, slot, weight, inputs.n_units, n_experts, stats,
        dispatch=dispatch[order], slot_expert=slot_expert, probs=probs, logits=logits,
    )  # fmt: skip
