"""Dispatch and combine by plain autograd: the readable twin of every faster path."""

from __future__ import annotations

import torch
from torch import Tensor

from ..routing import Routing


def mixed_by_gathering(bank, x: Tensor, routing: Routing) -> Tensor:
    """Gather the rows of each expert, compute, and add the weighted outputs up by unit."""
    rows = expert_rows(x, routing)
    outputs = bank(rows, routing.counts.tolist())
    return combined(outputs, routing)


def expert_rows(x: Tensor, routing: Routing) -> Tensor:
    """Rows for the experts, sorted by expert: units, or mixtures of units in slots."""
    if routing.slot_expert is None:
        return x[routing.unit]
    n_slots = len(routing.slot_expert)
    entering = x[routing.unit]
    if routing.dispatch is not None:
        entering = entering * routing.dispatch.to(x.dtype)[:, None]
    return x.new_zeros(n_slots, x.shape[1]).index_add(0, routing.slot, entering)


def combined(outputs: Tensor, routing: Routing) -> Tensor:
    """Weighted sum of the experts' outputs for every unit, shape (T, out_dim)."""
    if routing.slot_expert is not None:
        outputs = outputs[routing.slot]
    return combined_pairs(outputs, routing.unit, routing.weight, routing.n_units)


def combined_pairs(outputs: Tensor, unit: Tensor, weight: Tensor, n_units: int) -> Tensor:
    """Weighted sum by unit of one output a pair."""
    weighted = outputs * weight.to(outputs.dtype)[:, None]
    return outputs.new_zeros(n_units, outputs.shape[1]).index_add(0, unit, weighted)


def split_rows(rows: Tensor, counts: list[int]) -> tuple[Tensor, ...]:
    """The rows of each expert."""
    return torch.split(rows, counts)
