"""The dense gate: every expert in training, few at prediction."""

from __future__ import annotations

import torch

from ..checks import check_k, check_option
from .assignment import Routing
from .base import Router, RouterFlags, register_router
from .inputs import RoutingInputs
from .ranking import rank
from .scores import LinearScore
from .top_k import NORMALISATIONS

INFERENCES = ("all", "topk", "threshold")


@register_router("dense")
class DenseRouter(Router):
    """Each unit goes to all experts in training, with softmax weights, and to few at prediction.

    Parameters
    ----------
    dim, n_experts : int
    inference : {"all", "topk", "threshold"}
        At prediction: all experts; the k of highest probability; those whose probability is not
        below the threshold, and the best one always.
    k : int
        Experts of ``"topk"``.
    threshold : float
        The probability of ``"threshold"``; 0 takes all, as in training.
    normalize : None, "sum" or "detached_sum"
        Whether the weights of those kept at prediction are divided by their sum.
    bias : bool
        Whether scores have an intercept.

    Raises
    ------
    ValueError
        For values outside these ranges.

    Notes
    -----
    Sparse prediction costs little only where training makes probabilities sharp, as the
    mutual-information loss does.

    References
    ----------
    Pan et al., "Dense training, sparse inference: rethinking training of mixture-of-experts
    language models", 2024; Zadouri et al., "Pushing mixture of experts to the limit: extremely
    parameter efficient MoE for instruction tuning", 2024, for all experts at prediction.
    """

    def __init__(
        self,
        dim: int,
        n_experts: int,
        inference: str = "all",
        *,
        k: int = 2,
        threshold: float = 0.05,
        normalize: str | None = None,
        bias: bool = False,
    ):
        super().__init__(dim, n_experts)
        check_option("inference", inference, INFERENCES)
        check_option("normalize", normalize, NORMALISATIONS)
        if inference == "topk":
            check_k(k, n_experts)
        if not 0 <= threshold < 1:
            raise ValueError(f"threshold must be at least 0 and below 1; got {threshold}.")
        self.inference = inference
        self.k = k
        self.threshold = threshold
        self.normalize = normalize
        self.score = LinearScore(dim, n_experts, bias=bias)

    def flags(self, training: bool) -> RouterFlags:
        sparse = not training and self.inference == "threshold" and self.threshold > 0
        lost = not training and self.inference == "topk" and self.k == 1 and self.normalize == "sum"
        return RouterFlags(
            variable_k=sparse and self.n_experts > 1,
            trainable=not lost,
            differentiable=training or self.inference == "all" or self.normalize != "detached_sum",
        )

    def route(self, inputs: RoutingInputs) -> Routing:
        everything = inputs.training or self.inference == "all"
        most = self.k if self.inference == "topk" and not everything else self.n_experts
        ranking = rank(inputs, self.score(inputs.x), most)
        if everything:
            return ranking.routing(inputs, ranking.weight, None)
        wanted = torch.ones_like(ranking.weight, dtype=torch.bool)
        if self.inference == "threshold":
            wanted = ranking.weight.detach() >= self.threshold
            wanted[:, 0] = True
        keep = ranking.keep(wanted)
        return ranking.routing(inputs, ranking.normalised(inputs, keep, self.normalize), keep)
