"""Balanced assignment in training by Sinkhorn's iteration; plain choices at prediction."""

from __future__ import annotations

import torch

from ..checks import check_k, check_option
from .assignment import Routing, from_choices
from .balanced import sinkhorn
from .base import Router, RouterFlags, hide, register_router, seen_logits, top_visible
from .inputs import RoutingInputs
from .scores import LinearScore, activate, probabilities

WEIGHTS = ("sigmoid", "softmax")


@register_router("sinkhorn")
class SinkhornRouter(Router):
    """Training assigns units to experts evenly, by a transport plan; prediction by scores alone.

    In training each unit goes to the k largest entries of its row in the plan that scales
    ``exp(sharpness * s)``, with scores s = W x that are detached, to equal shares of all experts
    (`sinkhorn`). No balance loss is needed. The choice then depends on all units of the batch; at
    prediction it is that of the k best scores, and depends on none. Weights are
    ``sigmoid(s)`` or the softmax of s at the chosen experts in both modes, and carry the gradient.

    Parameters
    ----------
    dim, n_experts : int
    k : int
    score : {"sigmoid", "softmax"}
        Activation of the weights.
    sharpness : float
        Factor of the scores in the plan; large values follow the scores, small ones spread.
    n_iter : int
        Largest number of iterations of the plan.
    tol : float
        Relative error of the column sums at which they end.
    bias : bool
        Whether scores have an intercept.

    Raises
    ------
    ValueError
        For values outside these ranges.

    Notes
    -----
    Sums of the plan are equal, numbers of units nearly so: a unit's largest entry need not be
    large. Units whose scores are the same go to the same expert, however many they are.

    References
    ----------
    Anthony et al., "BlackMamba: mixture of experts for state-space models", 2024, section 4;
    Clark et al., "Unified scaling laws for routed language models", 2022, appendix B.2.1.
    """

    def __init__(
        self,
        dim: int,
        n_experts: int,
        k: int = 1,
        *,
        score: str = "sigmoid",
        sharpness: float = 2.0,
        n_iter: int = 100,
        tol: float = 1e-4,
        bias: bool = False,
    ):
        super().__init__(dim, n_experts)
        check_k(k, n_experts)
        check_option("score", score, WEIGHTS)
        if not sharpness > 0 or not tol > 0 or n_iter < 1:
            raise ValueError(
                "sharpness and tol must be positive and n_iter at least 1; got "
                f"{sharpness}, {tol} and {n_iter}."
            )
        self.k = k
        self.activation = score
        self.sharpness = sharpness
        self.n_iter = n_iter
        self.tol = tol
        self.score = LinearScore(dim, n_experts, bias=bias)

    def flags(self, training: bool) -> RouterFlags:
        alone = not training or self.k == self.n_experts
        return RouterFlags(causal=alone, batch_independent=alone)

    def route(self, inputs: RoutingInputs) -> Routing:
        logits = self.score(inputs.x)
        weights = activate(logits, self.activation, inputs.visible)
        wish = self._balanced(inputs, hide(logits, inputs)) if inputs.training else logits
        expert, seen = top_visible(wish, self.k, inputs)
        return from_choices(
            inputs,
            self.n_experts,
            expert,
            weights.gather(1, expert),
            keep=seen,
            probs=probabilities(weights, self.activation),
            logits=seen_logits(logits, inputs),
        )

    def _balanced(self, inputs: RoutingInputs, hidden: torch.Tensor) -> torch.Tensor:
        """The plan over valid units, minus infinity at hidden experts; padding as scored."""
        with torch.no_grad():
            some = hidden if inputs.valid is None else hidden[inputs.valid]
            plan = sinkhorn(some, sharpness=self.sharpness, n_iter=self.n_iter, tol=self.tol)
            plan = plan.masked_fill(some == -torch.inf, -torch.inf)
            if inputs.valid is None:
                return plan
            return hidden.detach().clone().index_put_((inputs.valid,), plan)
