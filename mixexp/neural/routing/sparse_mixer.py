"""SparseMixer: sampled experts, and an estimate of the gradient that sampling has."""

from __future__ import annotations

import torch
from torch import Tensor

from .assignment import Routing, from_choices
from .base import Router, RouterFlags, hide, register_router, seen_logits
from .inputs import RoutingInputs
from .noise import gumbel_noise, uniform_noise
from .scores import LinearScore, activate
from .select import top_k

# version: (chance of the full weight, factor of the weight otherwise, factor of the gradient)
RULES = {1: (0.5, 0.5, 2.0), 2: (0.25, 1.0 / 3.0, 1.0)}


@register_router("sparse_mixer")
class SparseMixerRouter(Router):
    """One or two experts a unit, drawn by probability, with a gradient for the choice.

    In training expert D is drawn from the softmax p over the candidates, the experts whose score
    is within ``2 * jitter`` of the best, relative to the larger of it and their own size. The loss
    of a sampled choice has a gradient through the probability of choosing, ``(L(p_D f_D) - L(0))
    grad log p_D``, which a plain router leaves out. It is estimated from one evaluation at a random
    place of the path from 0 to ``p_D f_D``, so that no other expert is computed:

    - version 1 (mid-point method): the weight is p_D or, for a fair coin, half of it; the gradient
      with respect to p_D is doubled, for the choice and for the weight;
    - version 2 (Heun's third-order method): p_D with chance 1/4, a third of it otherwise; the
      gradient is that of the choice alone.

    The best candidate always has its full weight. With ``k=2`` a second expert is drawn in the same
    way from what is left. At prediction the best experts are taken, with weights p_D.

    Parameters
    ----------
    dim, n_experts : int
    k : {1, 2}
        Experts a unit; 2 is defined for version 2.
    version : {1, 2}
    jitter : float
        Half of the relative distance from the best score within which an expert is a candidate.
        Infinity makes every expert one.
    bias : bool
        Whether scores have an intercept.

    Raises
    ------
    ValueError
        For values outside these ranges.

    Notes
    -----
    The published version 1 scales each column of the output by a learned factor too. It is left
    out: the experts' last layer holds it.

    References
    ----------
    Liu et al., "Sparse backpropagation for MoE training", 2023; Liu et al., "GRIN:
    gradient-informed MoE", 2024.
    """

    def __init__(
        self,
        dim: int,
        n_experts: int,
        k: int = 1,
        *,
        version: int = 1,
        jitter: float = 0.1,
        bias: bool = False,
    ):
        super().__init__(dim, n_experts)
        if version not in RULES:
            raise ValueError(f"version must be 1 or 2; got {version}.")
        if not 1 <= k <= min(version, n_experts):
            raise ValueError(
                f"SparseMixerRouter draws 1 to {min(version, n_experts)} of {n_experts} experts in "
                f"version {version}; got k={k}. Two experts are defined for version=2."
            )
        if not jitter > 0:
            raise ValueError(f"jitter must be positive; got {jitter}.")
        self.k = k
        self.version = version
        self.jitter = jitter
        self.score = LinearScore(dim, n_experts, bias=bias)

    def flags(self, training: bool) -> RouterFlags:
        return RouterFlags(stochastic=training, differentiable=not training)

    def route(self, inputs: RoutingInputs) -> Routing:
        logits = self.score(inputs.x)
        left = hide(logits, inputs)
        experts, weights, found = [], [], []
        for _ in range(self.k):
            expert, weight = self._draw(inputs, left)
            experts.append(expert)
            weights.append(weight)
            found.append(left.gather(1, expert) > -torch.inf)
            left = left.scatter(1, expert, -torch.inf)
        return from_choices(
            inputs,
            self.n_experts,
            torch.cat(experts, 1),
            torch.cat(weights, 1),
            keep=torch.cat(found, 1),
            probs=activate(logits, "softmax", inputs.visible),
            logits=seen_logits(logits, inputs),
        )

    def _draw(self, inputs: RoutingInputs, scores: Tensor) -> tuple[Tensor, Tensor]:
        """One expert of each unit and its weight, both of shape (T, 1)."""
        among = candidates(scores, self.jitter)
        chance = activate(scores, "softmax", among)
        best = top_k(scores, 1)
        if not inputs.training:
            return best, chance.gather(1, best)
        noise = gumbel_noise(tuple(scores.shape), scores, inputs)
        expert = top_k(scores.masked_fill(~among, -torch.inf) + noise, 1)
        full, reduced, gain = RULES[self.version]
        coin = uniform_noise((len(scores), 1), scores, inputs) < full
        factor = torch.where((expert == best) | coin, 1.0, reduced).to(scores.dtype)
        return expert, SampledWeight.apply(chance.gather(1, expert), factor, gain)


class SampledWeight(torch.autograd.Function):
    """``weight * factor`` whose derivative is ``gain``: the point where the loss is evaluated and
    the gradient that is taken there are chosen apart."""

    @staticmethod
    def forward(weight, factor, gain):
        return weight * factor

    @staticmethod
    def setup_context(ctx, inputs, output):
        ctx.gain = inputs[2]

    @staticmethod
    def backward(ctx, grad):
        return grad * ctx.gain, None, None


def candidates(scores: Tensor, jitter: float) -> Tensor:
    """Experts near enough to the best score to be drawn; those at minus infinity are not."""
    with torch.no_grad():
        best = scores.max(-1, keepdim=True).values
        size = torch.maximum(scores.abs(), best)
        far = best - scores > 2 * jitter * size
        return (scores > -torch.inf) & ~far
