"""Random routing: no scores, no parameters."""

from __future__ import annotations

import torch
from torch import Tensor

from ..checks import check_k, check_option
from .assignment import Routing, from_choices
from .base import Router, RouterFlags, register_router, top_visible
from .fallback import equal_weights
from .inputs import RoutingInputs
from .noise import uniform_noise

LEVELS = ("token", "sequence", "batch")
INFERENCES = ("random", "all")


@register_router("random")
class RandomRouter(Router):
    """Each unit goes to k experts drawn uniformly, with equal weights.

    The baseline that a learned router must beat, and the router of stochastic experts.

    Parameters
    ----------
    dim, n_experts : int
    k : int
        Different experts a unit.
    level : {"token", "sequence", "batch"}
        Whether each unit, each segment, or the whole pass has a draw of its own.
    inference : {"random", "all"}
        At prediction: draws as in training, as published, or the mean over all experts.

    Raises
    ------
    ValueError
        For k outside 1 ... E and unknown options.

    References
    ----------
    Zuo et al., "Taming sparsely activated transformer with stochastic experts", 2022.
    """

    def __init__(
        self,
        dim: int,
        n_experts: int,
        k: int = 1,
        *,
        level: str = "token",
        inference: str = "random",
    ):
        super().__init__(dim, n_experts)
        check_k(k, n_experts)
        check_option("level", level, LEVELS)
        check_option("inference", inference, INFERENCES)
        self.k = k
        self.level = level
        self.inference = inference
        if level == "sequence":
            self.needs = frozenset({"segment"})

    def flags(self, training: bool) -> RouterFlags:
        drawn = training or self.inference == "random"
        return RouterFlags(trainable=False, stochastic=drawn and self.k < self.n_experts)

    def route(self, inputs: RoutingInputs) -> Routing:
        if inputs.training or self.inference == "random":
            k, draw = self.k, self._draw(inputs)
        else:
            k, draw = self.n_experts, inputs.x.new_zeros(inputs.n_units, self.n_experts)
        # under a mask per unit a common draw orders the experts, and each unit takes what it may
        expert, seen = top_visible(draw, k, inputs)
        weight = equal_weights(inputs, expert, seen)
        return from_choices(inputs, self.n_experts, expert, weight, keep=seen)

    def _draw(self, inputs: RoutingInputs) -> Tensor:
        """Random orders of the experts, shape (T, E)."""
        if self.level == "token":
            return uniform_noise((inputs.n_units, self.n_experts), inputs.x, inputs)
        if self.level == "batch":
            draw = uniform_noise((1, self.n_experts), inputs.x, inputs)
            return draw.expand(inputs.n_units, -1)
        ids, item = torch.unique(inputs.segment, return_inverse=True)
        return uniform_noise((len(ids), self.n_experts), inputs.x, inputs)[item]
