"""Top-p: as many experts as a unit's probabilities need to reach a threshold."""

from __future__ import annotations

import torch

from ..checks import check_option
from .assignment import Routing
from .base import Router, RouterFlags, register_router
from .inputs import RoutingInputs
from .ranking import rank, with_loss
from .scores import LinearScore
from .top_k import NORMALISATIONS


@register_router("top_p")
class TopPRouter(Router):
    """Each unit goes to the fewest experts whose probabilities reach a threshold together.

    Experts are taken in the order of their softmax probability while the sum of those before is
    below the threshold: at least one, and the expert that crosses the threshold is among them. The
    routing has the loss ``"entropy"``, the mean entropy of the probabilities, without which flat
    probabilities take many experts.

    Parameters
    ----------
    dim, n_experts : int
    threshold : float
        From 0, which takes one expert, to 1, which takes all.
    max_k : int, optional
        At most so many experts a unit.
    normalize : None, "sum" or "detached_sum"
        Whether the weights are the probabilities, as published, or these divided by their sum. A
        unit with one expert then has the constant weight one, which teaches the router nothing.
    bias : bool
        Whether scores have an intercept.

    Raises
    ------
    ValueError
        For values outside these ranges, and for ``max_k=1`` with normalised weights.

    References
    ----------
    Huang et al., "Harder tasks need more experts: dynamic routing in MoE models", 2024; Yang et
    al., "XMoE: sparse models with fine-grained and adaptive expert selection", 2024.
    """

    def __init__(
        self,
        dim: int,
        n_experts: int,
        threshold: float = 0.4,
        *,
        max_k: int | None = None,
        normalize: str | None = None,
        bias: bool = False,
    ):
        super().__init__(dim, n_experts)
        if not 0 <= threshold <= 1:
            raise ValueError(f"threshold must be from 0 to 1; got {threshold}.")
        if max_k is not None and max_k < 1:
            raise ValueError(f"max_k must be at least 1; got {max_k}.")
        check_option("normalize", normalize, NORMALISATIONS)
        if normalize is not None and (max_k == 1 or threshold == 0) and n_experts > 1:
            raise ValueError(
                "with one expert a unit a normalised weight is always one, and the router gets no "
                "gradient. Use normalize=None."
            )
        self.threshold = threshold
        self.max_k = max_k
        self.normalize = normalize
        self.score = LinearScore(dim, n_experts, bias=bias)

    def flags(self, training: bool) -> RouterFlags:
        most = self.n_experts if self.max_k is None else self.max_k
        return RouterFlags(
            variable_k=0 < self.threshold < 1 and min(most, self.n_experts) > 1,
            differentiable=self.normalize != "detached_sum",
        )

    def route(self, inputs: RoutingInputs) -> Routing:
        most = self.n_experts if self.max_k is None else min(self.max_k, self.n_experts)
        ranking = rank(inputs, self.score(inputs.x), most)
        share = ranking.weight.detach()
        # rounding may let the probabilities reach one before the last expert
        wanted = torch.cumsum(share, 1) - share < self.threshold
        wanted = torch.ones_like(wanted) if self.threshold == 1 else wanted
        wanted[:, 0] = True
        keep = ranking.keep(wanted)
        routing = ranking.routing(inputs, ranking.normalised(inputs, keep, self.normalize), keep)
        return with_loss(routing, "entropy", routing.stats.entropy_sum)
