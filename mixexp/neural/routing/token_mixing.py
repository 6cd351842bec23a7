"""Mixture of tokens: experts compute mixtures of units of different segments."""

from __future__ import annotations

import torch
from torch import nn

from .assignment import Routing
from .base import Router, RouterFlags, hide, register_router
from .inputs import RoutingInputs
from .scores import LinearScore
from .slots import from_slots, softmax_within


@register_router("token_mixing")
class TokenMixingRouter(Router):
    """Units at the same position of different segments form a group, which each expert mixes.

    For a group of up to g units expert e computes once, on ``sum_t w_te x_t``, and unit t receives
    ``sum_e w_te f_e(mixture_e)``, with w_te the softmax over the units of the group of
    ``(W x_t)_e / temperature``. Every expert spends the weight one on every group, so that none
    starves, and all is differentiable.

    Mixing equal positions keeps the model causal. It couples the segments of a batch, though: an
    answer depends on what else is in the batch, in training and at prediction.

    Parameters
    ----------
    dim, n_experts : int
    group_size : int, optional
        g; segments are grouped in the order of their numbers. All segments by default. With one,
        nothing is mixed and every unit goes to all experts with weight one.
    temperature : float
        Small values let one unit of the group have the expert alone; the paper trains with 1, and
        lowers it at the end of training to approach discrete routing.
    learn_temperature : bool
        Whether it is a parameter, its logarithm.

    Raises
    ------
    ValueError
        For values outside these ranges.

    References
    ----------
    Antoniak et al., "Mixture of tokens: continuous MoE through cross-example aggregation", 2024.
    """

    needs = frozenset({"segment", "position"})

    def __init__(
        self,
        dim: int,
        n_experts: int,
        group_size: int | None = None,
        *,
        temperature: float = 1.0,
        learn_temperature: bool = False,
    ):
        super().__init__(dim, n_experts)
        if group_size is not None and group_size < 1:
            raise ValueError(f"group_size must be at least 1; got {group_size}.")
        if not temperature > 0:
            raise ValueError(f"temperature must be positive; got {temperature}.")
        self.group_size = group_size
        self.score = LinearScore(dim, n_experts)
        log = torch.tensor(float(temperature)).log()
        if learn_temperature:
            self.log_temperature = nn.Parameter(log)
        else:
            self.register_buffer("log_temperature", log)

    def flags(self, training: bool) -> RouterFlags:
        alone = self.group_size == 1
        return RouterFlags(batch_independent=alone, trainable=not alone)

    def route(self, inputs: RoutingInputs) -> Routing:
        temperature = self.log_temperature.to(inputs.x.dtype).exp()
        scores = hide(self.score(inputs.x) / temperature, inputs)
        if inputs.valid is not None:
            scores = scores.masked_fill(~inputs.valid[:, None], -torch.inf)
        group, n_groups = groups(inputs, self.group_size)
        weight = softmax_within(scores, group, n_groups)
        unit, expert = (scores > -torch.inf).nonzero(as_tuple=True)
        return from_slots(
            inputs,
            self.n_experts,
            unit,
            expert * n_groups + group[unit],
            torch.arange(self.n_experts * n_groups, device=unit.device) // max(1, n_groups),
            weight[unit, expert],
            weight[unit, expert],
            weight.argmax(1)[unit] == expert,
        )


def groups(inputs: RoutingInputs, size: int | None) -> tuple[torch.Tensor, int]:
    """Group of each unit, and their number: equal position, and segments that follow another."""
    segment, position = inputs.segment, inputs.position
    assert segment is not None and position is not None
    if inputs.valid is not None:
        # segments that are all padding take no place in a group
        least = segment[inputs.valid].min() if inputs.valid.any() else 0
        segment = torch.where(inputs.valid, segment, least)
    _, number = torch.unique(segment, return_inverse=True)
    block = torch.zeros_like(number) if size is None else number // size
    keys = torch.stack([block, position], 1)
    found, group = torch.unique(keys, dim=0, return_inverse=True)
    return group, len(found)
