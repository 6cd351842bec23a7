"""Adaptive gating: one expert where it stands out, more where the best are close."""

from __future__ import annotations

import torch
from torch.nn import functional as F

from .assignment import Routing
from .base import Router, RouterFlags, register_router
from .inputs import RoutingInputs
from .ranking import rank
from .scores import LinearScore


@register_router("adaptive_top_k")
class AdaptiveTopKRouter(Router):
    """Each unit goes to its best experts up to the first clear gap between their probabilities.

    With sorted softmax probabilities ``p_1 >= p_2 >= ...`` a unit takes the smallest k with
    ``p_k - p_{k+1} > threshold``, at most ``max_k``; with ``max_k=2`` this is one expert where the
    best one stands out, and two elsewhere. Weights are the probabilities.

    Parameters
    ----------
    dim, n_experts : int
    threshold : float
        The gap, from 0, where one expert is enough unless probabilities are equal, to 1, where
        every unit takes ``max_k``.
    max_k : int
        At most so many experts a unit.
    bias : bool
        Whether scores have an intercept.

    Raises
    ------
    ValueError
        For values outside these ranges.

    References
    ----------
    Li et al., "Adaptive gating in mixture-of-experts based language models", 2023.
    """

    def __init__(
        self,
        dim: int,
        n_experts: int,
        threshold: float = 0.1,
        *,
        max_k: int = 2,
        bias: bool = False,
    ):
        super().__init__(dim, n_experts)
        if not 0 <= threshold <= 1:
            raise ValueError(f"threshold must be from 0 to 1; got {threshold}.")
        if max_k < 1:
            raise ValueError(f"max_k must be at least 1; got {max_k}.")
        self.threshold = threshold
        self.max_k = max_k
        self.score = LinearScore(dim, n_experts, bias=bias)

    def flags(self, training: bool) -> RouterFlags:
        several = min(self.max_k, self.n_experts) > 1
        return RouterFlags(variable_k=several and self.threshold < 1)

    def route(self, inputs: RoutingInputs) -> Routing:
        ranking = rank(inputs, self.score(inputs.x), min(self.max_k, self.n_experts))
        share = ranking.weight.detach()
        stands_out = share[:, :-1] - share[:, 1:] > self.threshold
        wanted = F.pad(torch.cumsum(stands_out, 1) == 0, (1, 0), value=True)
        return ranking.routing(inputs, ranking.weight, wanted)
