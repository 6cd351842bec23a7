"""ReLU routing: weights that are continuous in the unit, sparse by a controlled L1 penalty."""

from __future__ import annotations

import torch
from torch import Tensor

from .assignment import Routing, from_mask
from .base import NO_CLOCK, Router, RouterFlags, register_router, seen_logits
from .inputs import Clock, RoutingInputs
from .ranking import with_loss
from .scores import LinearScore, activate, probabilities
from .stats import RoutingStats


@register_router("relu")
class ReLURouter(Router):
    """Each unit goes to the experts of positive score, weighted by the score; it may have none.

    Outputs are continuous in the unit where a top-k choice jumps. Sparsity comes from the loss
    ``"sparsity"``, ``lambda / T * sum_t sum_e f_e relu(z_te)`` with ``f_e = E / (k T) count_e``,
    which presses harder on frequent experts. After each step `update` multiplies lambda by
    ``alpha`` where a unit had more than k experts on average, and divides it where it had fewer.
    Unlike other losses this one carries its coefficient, which is a part of the mechanism: add it
    with weight one.

    Parameters
    ----------
    dim, n_experts : int
    k : float
        Mean number of experts a unit that lambda is steered to.
    alpha : float
        Factor of a step of lambda, above 1.
    initial : float
        Lambda before the first step.
    balance : bool
        Whether the penalty weighs experts by their frequency; False is the plain L1 norm.
    bias : bool
        Whether scores have an intercept. Without one, and with centred units, half of the scores
        are positive whatever the penalty; the published router has none, and units with a mean.

    Attributes
    ----------
    coefficient : Tensor of shape ()
        Lambda, float32, saved with the parameters; it stays between 1e-12 and 1e12.

    Raises
    ------
    ValueError
        For values outside these ranges.

    Notes
    -----
    Given the statistics of its own layer, `update` holds each layer to k. Given those of all layers
    merged, all layers have one lambda and k is held on their average, as published. The defaults
    are the published ones, for tens of thousands of steps; in a few hundred they overshoot, and
    alpha near 1.02 with initial near 0.01 holds the number within a few percent.

    References
    ----------
    Wang et al., "ReMoE: fully differentiable mixture-of-experts with ReLU routing", 2025.
    """

    coefficient: Tensor

    def __init__(
        self,
        dim: int,
        n_experts: int,
        k: float = 2,
        *,
        alpha: float = 1.2,
        initial: float = 1e-8,
        balance: bool = True,
        bias: bool = True,
    ):
        super().__init__(dim, n_experts)
        if not 0 < k <= n_experts:
            raise ValueError(f"k must be above 0 and at most n_experts={n_experts}; got {k}.")
        if not alpha > 1 or not initial > 0:
            raise ValueError(
                f"alpha must be above 1 and initial above 0; got {alpha} and {initial}."
            )
        self.k = k
        self.alpha = alpha
        self.balance = balance
        self.score = LinearScore(dim, n_experts, bias=bias)
        self.register_buffer("coefficient", torch.tensor(initial, dtype=torch.float32))

    def flags(self, training: bool) -> RouterFlags:
        return RouterFlags(variable_k=True)

    def route(self, inputs: RoutingInputs) -> Routing:
        logits = self.score(inputs.x)
        weights = activate(logits, "relu", inputs.visible)
        routing = from_mask(
            inputs,
            weights > 0,
            weights,
            probs=probabilities(weights, "relu"),
            logits=seen_logits(logits, inputs),
        )
        return with_loss(routing, "sparsity", self._penalty(routing.stats))

    def _penalty(self, stats: RoutingStats) -> Tensor:
        """Lambda times the penalty, summed over units."""
        share: Tensor | float = 1.0
        if self.balance:
            share = stats.counts * (self.n_experts / self.k) / stats.n_units.clamp_min(1.0)
        return self.coefficient.to(stats.weight_sum.dtype) * (share * stats.weight_sum).sum()

    def update(self, stats: RoutingStats, clock: Clock = NO_CLOCK) -> None:
        """One step of lambda towards k experts a unit; without units none."""
        with torch.no_grad():
            surplus = stats.counts.sum() - self.k * stats.n_units
            self.coefficient *= self.alpha ** torch.sign(surplus).float()
            # a coefficient that underflows to zero would never rise again
            self.coefficient.clamp_(1e-12, 1e12)
