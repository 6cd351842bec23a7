"""Experts merged before use: one function with a weighted sum of the experts' parameters."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.func import functional_call

from ..routing import Routing
from ..routing.select import count, stable_order
from .mixing import combined_pairs, split_rows
from .two_layer import TwoLayer

# numbers of merged parameters that are held at once where every unit has experts of its own
BLOCK = 2**22


def check_mergeable(bank) -> None:
    """Refuse banks whose parameters cannot be summed over experts."""
    if not bank.mergeable:
        raise ValueError(
            f'combine="parameters" sums parameters over experts, and those of '
            f"{type(bank).__name__} are not stacked with equal shapes. Use FeedForwardExperts, "
            'GatedExperts, MLPExperts or IA3Experts, or combine="outputs".'
        )


def merged_by_group(bank, rows: Tensor, weights: Tensor, counts: list[int]) -> Tensor:
    """Outputs of merged experts for rows sorted by group.

    Parameters
    ----------
    bank : ExpertBank
        A mergeable one.
    rows : Tensor of shape (N, dim)
    weights : Tensor of shape (G, E)
        Weights of the experts' parameters in each group.
    counts : list of int of length G
        Rows of each group.
    """
    merged = {
        name: torch.tensordot(weights.to(stack.dtype), stack, dims=1)
        for name, stack in bank.named_parameters()
    }
    return functional_call(bank, merged, (rows, counts))


def merged_by_unit(bank, x: Tensor, routing: Routing) -> Tensor:
    """Outputs of each unit's own merged expert, shape (T, out_dim), block by block of units."""
    weights = routing.weights()
    size = sum(parameter[0].numel() for parameter in bank.parameters())
    n_rows = max(1, BLOCK // max(1, size))
    blocks = zip(x.split(n_rows), weights.split(n_rows))
    return torch.cat([merged_by_group(bank, a, w, [1] * len(a)) for a, w in blocks])


def merged_two_layer(experts: TwoLayer, x: Tensor, routing: Routing) -> Tensor:
    """Outputs of each unit's own merged two-layer expert, shape (T, out_dim).

    Each layer is linear in its parameters, so a merged layer is a sum of the experts' layers, and
    no merged matrix is made.
    """
    first, second, shift1, shift2 = experts.views()
    inner = _merged_affine(x, first, shift1, routing)
    return _merged_affine(experts.hidden.plain(inner), second, shift2, routing)


def _merged_affine(x: Tensor, matrices: list, shifts: list, routing: Routing) -> Tensor:
    """``sum_e weight_te (x_t W_e + b_e)`` for every unit."""
    parts = []
    for e, rows in enumerate(split_rows(x[routing.unit], routing.counts.tolist())):
        part = rows @ matrices[e]
        parts.append(part if shifts[e] is None else part + shifts[e])
    return combined_pairs(torch.cat(parts), routing.unit, routing.weight, routing.n_units)


def merged_by_item(bank, x: Tensor, routing: Routing, item: Tensor) -> Tensor:
    """Outputs of the merged expert of each unit's item, shape (T, out_dim).

    An item's weights are the mean of its units'. Padding gets zero.

    Parameters
    ----------
    item : LongTensor of shape (T,)
        Sequence or task of each unit, -1 for padding.
    """
    place = (item >= 0).nonzero().squeeze(1)
    ids, group = torch.unique(item[place], return_inverse=True)
    n_units = count(group, len(ids))
    weights = routing.weights()
    mean = weights.new_zeros(len(ids), weights.shape[1]).index_add(0, group, weights[place])
    mean = mean / n_units.to(mean.dtype)[:, None]
    order = place[stable_order(group, len(ids))]
    outputs = merged_by_group(bank, x[order], mean, n_units.tolist())
    return outputs.new_zeros(len(x), outputs.shape[1]).index_copy(0, order, outputs)
