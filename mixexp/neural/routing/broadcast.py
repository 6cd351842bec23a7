"""`BroadcastUncertain`: in training, units that no expert is sure of are seen by all."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from .assignment import Routing
from .base import Router, RouterFlags, register_router
from .inputs import RoutingInputs
from .select import place_in_group
from .wrapper import RouterWrapper, choices, probabilities_of, rechosen


@register_router("broadcast_uncertain")
class BroadcastUncertain(RouterWrapper):
    """A router that in training sends units of high entropy to all experts.

    Where the router is unsure the choice is a matter of chance; experts that have all seen such
    units answer them alike. The weights of a broadcast unit are its probabilities. Prediction is
    the base's, at no cost.

    Parameters
    ----------
    base : Router
        With probabilities.
    threshold : float
        Entropy, in nats, from which a unit is broadcast: 0 for all units, infinity for none. A
        quantile of entropies on held-out data is a good choice; a fixed number keeps units
        independent of one another.
    max_per_segment : int, optional
        At most so many units of each segment, the most uncertain first.

    Raises
    ------
    ValueError
        For a threshold that is no number, and for bases without probabilities.

    References
    ----------
    Wu et al., "GW-MoE: resolving uncertainty in MoE router with global workspace theory", 2024.
    """

    def __init__(self, base: Router, threshold: float, *, max_per_segment: int | None = None):
        super().__init__(base)
        if math.isnan(threshold):
            raise ValueError("threshold must be a number; got nan.")
        if max_per_segment is not None and max_per_segment < 1:
            raise ValueError(f"max_per_segment must be at least 1; got {max_per_segment}.")
        self.threshold = threshold
        self.max_per_segment = max_per_segment

    def flags(self, training: bool) -> RouterFlags:
        flags = self.base.flags(training)
        if not training or self.threshold > math.log(self.n_experts):
            return flags
        if self.max_per_segment is not None:
            return flags.but(causal=False, variable_k=True)
        return flags.but(variable_k=self.threshold > 0)

    def route(self, inputs: RoutingInputs) -> Routing:
        routing = self.base(inputs)
        if not inputs.training:
            return routing
        probs = probabilities_of(routing, type(self).__name__)
        old = choices(routing)
        every = torch.ones_like(old)
        if inputs.visible is not None:
            every &= inputs.visible
        uncertain = self._uncertain(inputs, probs.detach())
        return rechosen(routing, inputs, uncertain, every, probs)

    def _uncertain(self, inputs: RoutingInputs, probs: Tensor) -> Tensor:
        """Units that are broadcast, BoolTensor of shape (T,)."""
        entropy = torch.special.entr(probs).sum(1)
        uncertain = entropy >= self.threshold
        if inputs.valid is not None:
            uncertain &= inputs.valid
        if self.max_per_segment is None:
            return uncertain
        inputs.require(frozenset({"segment"}), type(self).__name__)
        segment = torch.unique(inputs.segment, return_inverse=True)[1]
        rank = entropy.masked_fill(~uncertain, -1.0)
        place = place_in_group(segment, torch.argsort(rank, descending=True, stable=True))
        return uncertain & (place < self.max_per_segment)
