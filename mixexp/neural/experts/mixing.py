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


def mixed_densely(bank, x: Tensor, routing: Routing) -> Tensor:
    """Every expert on every row, weighted: of fixed shapes, at the cost of all experts."""
    if routing.slot_expert is None:
        weights = routing.weights().to(x.dtype)
        return torch.einsum("te,etd->td", weights, bank.every(x).to(x.dtype))
    every = bank.every(expert_rows(x, routing))
    place = torch.arange(len(routing.slot_expert), device=x.device)
    return combined(every[routing.slot_expert, place], routing)


@torch.compiler.disable
def mixed_outside_graph(bank, x: Tensor, routing: Routing) -> Tensor:
    """The bank's own way, run as it is between two compiled graphs."""
    return bank.mix(x, routing)


def mixed(bank, x: Tensor, routing: Routing) -> Tensor:
    """The bank's own way, or what tracing allows.

    Numbers of rows by expert are data, and no graph of fixed shapes holds products that depend on
    them. `torch.export` therefore records the dense sum; `torch.compile` breaks its graph.
    """
    if torch.compiler.is_exporting():
        return mixed_densely(bank, x, routing)
    if torch.compiler.is_compiling():
        return mixed_outside_graph(bank, x, routing)
    return bank.mix(x, routing)


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
