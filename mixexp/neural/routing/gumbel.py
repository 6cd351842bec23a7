"""Gumbel-softmax gate: all experts, weighted by a noisy softmax; one expert when hard."""

from __future__ import annotations

import torch
from torch import Tensor

from ..checks import check_option
from .assignment import Routing, from_choices, from_mask
from .base import Router, RouterFlags, hide, register_router, seen_logits
from .inputs import RoutingInputs
from .noise import gumbel_noise
from .scores import LinearScore, activate
from .select import top_k

EVALUATIONS = ("fixed", "sampled")


@register_router("gumbel")
class GumbelRouter(Router):
    """The gate ``softmax((W x + b + G) / tau)`` with Gumbel noise G: the gate of GG MoE.

    In training each unit has noise of its own. At prediction the gate is a mean over several draws
    of the noise. By default these draws are fixed: quantiles of the Gumbel distribution, one
    permutation of them an expert, drawn once when the router is made and saved with it (a Latin
    hypercube). So predictions depend on neither a generator nor the other rows, no expert is
    favoured by chance, and the mean is nearer to the expectation than one of as many free draws.

    Parameters
    ----------
    dim, n_experts : int
    tau : float
        Temperature: large values weigh all experts alike, small ones choose.
    n_samples : int
        Draws at prediction; 0 is the softmax without noise.
    evaluation : {"fixed", "sampled"}
        ``"sampled"`` draws the noise of predictions from the generator, as published.
    hard : bool
        One expert a unit: in training a draw from the softmax, of weight one, with the gradient of
        its noisy probability (straight-through); at prediction the most probable expert.
    bias : bool
        Whether scores have an intercept.

    Raises
    ------
    ValueError
        For values outside these ranges.

    References
    ----------
    Chernov, "(GG) MoE vs. MLP on tabular data", 2025; Jang et al., "Categorical reparameterization
    with Gumbel-softmax", 2017.
    """

    fixed_noise: Tensor

    def __init__(
        self,
        dim: int,
        n_experts: int,
        tau: float = 1.0,
        *,
        n_samples: int = 10,
        evaluation: str = "fixed",
        hard: bool = False,
        bias: bool = True,
    ):
        super().__init__(dim, n_experts)
        if not tau > 0:
            raise ValueError(f"tau must be positive; got {tau}.")
        if n_samples < 0:
            raise ValueError(f"n_samples must be at least 0; got {n_samples}.")
        check_option("evaluation", evaluation, EVALUATIONS)
        self.tau = tau
        self.n_samples = n_samples
        self.evaluation = evaluation
        self.hard = hard
        self.score = LinearScore(dim, n_experts, bias=bias)
        self.register_buffer("fixed_noise", gumbel_quantiles(n_samples, n_experts))

    def flags(self, training: bool) -> RouterFlags:
        if training:
            return RouterFlags(stochastic=True, differentiable=not self.hard)
        sampled = self.evaluation == "sampled" and self.n_samples > 0 and not self.hard
        return RouterFlags(stochastic=sampled, trainable=not self.hard)

    def route(self, inputs: RoutingInputs) -> Routing:
        logits = self.score(inputs.x)
        if self.hard:
            return self._one(inputs, logits)
        gate = self._noisy(inputs, logits) if inputs.training else self._mean(inputs, logits)
        seen = torch.ones_like(gate, dtype=torch.bool)
        return from_mask(
            inputs,
            seen if inputs.visible is None else inputs.visible.expand_as(seen),
            gate,
            probs=self._gate(inputs, logits),
            logits=seen_logits(logits, inputs),
        )

    def _gate(self, inputs: RoutingInputs, logits: Tensor) -> Tensor:
        return activate(logits / self.tau, "softmax", inputs.visible)

    def _noisy(self, inputs: RoutingInputs, logits: Tensor) -> Tensor:
        """The gate under one draw a unit."""
        noise = gumbel_noise(tuple(logits.shape), logits, inputs)
        return self._gate(inputs, logits + noise)

    def _mean(self, inputs: RoutingInputs, logits: Tensor) -> Tensor:
        """The gate of predictions: the mean over the draws, added up one by one."""
        if self.n_samples == 0:
            return self._gate(inputs, logits)
        total = torch.zeros_like(logits)
        for draw in range(self.n_samples):
            if self.evaluation == "sampled":
                total = total + self._noisy(inputs, logits)
            else:
                total = total + self._gate(inputs, logits + self.fixed_noise[draw].to(logits))
        return total / self.n_samples

    def _one(self, inputs: RoutingInputs, logits: Tensor) -> Routing:
        """One expert a unit, of weight one."""
        scores = logits
        if inputs.training:
            scores = logits + gumbel_noise(tuple(logits.shape), logits, inputs)
        expert = top_k(hide(scores, inputs), 1)
        weight = torch.ones_like(expert, dtype=logits.dtype)
        if inputs.training:
            chance = self._gate(inputs, scores).gather(1, expert)
            weight = weight + (chance - chance.detach())
        return from_choices(
            inputs,
            self.n_experts,
            expert,
            weight,
            probs=self._gate(inputs, logits),
            logits=seen_logits(logits, inputs),
        )


def gumbel_quantiles(n_samples: int, n_experts: int) -> Tensor:
    """A Latin hypercube of Gumbel noise, shape (n_samples, E): every column has the same values."""
    levels = (torch.arange(n_samples, dtype=torch.float64) + 0.5) / max(n_samples, 1)
    quantiles = -torch.log(-torch.log(levels))
    order = torch.argsort(torch.rand(n_samples, n_experts), dim=0)
    return quantiles[order].float()
