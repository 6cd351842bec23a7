"""Soft mixture of experts: experts compute mixtures of all units of a segment."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .assignment import Routing
from .base import Router, RouterFlags, register_router
from .inputs import RoutingInputs
from .scores import LinearScore
from .slots import from_slots, softmax_within


@register_router("soft")
class SoftRouter(Router):
    """Every slot of an expert holds a mixture of a segment's units, every unit one of all outputs.

    With scores ``Z = X Phi`` of the n units of a segment for the E p slots, slot s holds
    ``sum_t D_ts x_t`` with D the softmax of Z over units, and unit t receives
    ``sum_s C_ts f(slot_s)`` with C the softmax over slots. Nothing is chosen or dropped, all is
    differentiable, and the experts compute E p rows a segment whatever its length.

    Units mix within their segment only, so that a segment's answer does not depend on others; it
    does depend on later positions, and the router may not be used in a causal model.

    Parameters
    ----------
    dim, n_experts : int
    slots_per_expert : int
        p, for each segment.
    normalize : bool
        Whether units and columns of Phi are scaled to norm one, and the columns by a learned
        factor: scores then stay moderate in wide models.

    Raises
    ------
    ValueError
        For fewer than one slot an expert.

    References
    ----------
    Puigcerver et al., "From sparse to soft mixtures of experts", 2024, section 2 and, for the
    normalisation, section 2.3; Wu et al., "Omni-SMoLA", 2024; Cappellazzo et al., "Efficient
    fine-tuning of audio spectrogram transformers via soft mixture of adapters", 2024.
    """

    needs = frozenset({"segment"})

    def __init__(
        self, dim: int, n_experts: int, slots_per_expert: int = 1, *, normalize: bool = False
    ):
        super().__init__(dim, n_experts)
        if slots_per_expert < 1:
            raise ValueError(f"slots_per_expert must be at least 1; got {slots_per_expert}.")
        self.slots_per_expert = slots_per_expert
        self.score = LinearScore(dim, n_experts * slots_per_expert)
        self.scale = nn.Parameter(torch.ones(())) if normalize else None

    def flags(self, training: bool) -> RouterFlags:
        return RouterFlags(causal=False)

    def route(self, inputs: RoutingInputs) -> Routing:
        p, n_slots = self.slots_per_expert, self.n_experts * self.slots_per_expert
        scores = self._scores(inputs.x)
        seen = torch.ones_like(scores, dtype=torch.bool)
        if inputs.visible is not None:
            seen = inputs.visible.expand(inputs.n_units, -1).repeat_interleave(p, 1)
        if inputs.valid is not None:
            seen = seen & inputs.valid[:, None]
        hidden = scores.masked_fill(~seen, -torch.inf)
        ids, item = torch.unique(inputs.segment, return_inverse=True)
        dispatch = softmax_within(hidden, item, len(ids))
        # rows without a slot are padding: finite here, and in no pair
        combine = torch.softmax(torch.where(seen.any(1, keepdim=True), hidden, 0.0), 1)
        unit, column = seen.nonzero(as_tuple=True)
        expert, within = column // p, column % p
        best = combine.argmax(1)
        logits = hidden.view(-1, self.n_experts, p).logsumexp(-1)
        blind = ~seen.any(1, keepdim=True)
        return from_slots(
            inputs,
            self.n_experts,
            unit,
            # slots are numbered by expert first, as the rows of experts are
            (expert * len(ids) + item[unit]) * p + within,
            torch.arange(n_slots * len(ids), device=unit.device) // max(1, p * len(ids)),
            dispatch[unit, column],
            combine[unit, column],
            best[unit] == column,
            probs=combine.view(-1, self.n_experts, p).sum(-1),
            logits=logits.masked_fill(blind, 0.0),
        )

    def _scores(self, x: Tensor) -> Tensor:
        if self.scale is None:
            return self.score(x)
        phi = F.normalize(self.score.weight.to(x.dtype), dim=1)
        return F.linear(F.normalize(x, dim=1), self.scale.to(x.dtype) * phi)
