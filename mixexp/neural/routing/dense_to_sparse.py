"""The dense-to-sparse gate: all experts at first, fewer as the temperature falls."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from ..checks import check_option
from .assignment import Routing
from .base import NO_CLOCK, Router, RouterFlags, register_router
from .inputs import Clock, RoutingInputs
from .noise import gumbel_noise
from .ranking import rank
from .scores import LinearScore, activate
from .stats import RoutingStats
from .top_k import NORMALISATIONS

ANNEALINGS = ("linear", "exponential", "cosine")


@register_router("dense_to_sparse")
class DenseToSparseRouter(Router):
    """Each unit goes to the experts whose Gumbel-softmax weight is above a threshold.

    ``g = softmax((W x + G) / tau)`` with Gumbel noise G in training and none at prediction. The
    temperature falls from ``tau_start`` to ``tau_end`` over the training, which `Clock` must tell
    (``total_steps``): weights are spread over all experts at first and end on one or two. The best
    expert is always taken.

    Parameters
    ----------
    dim, n_experts : int
    tau_start, tau_end : float
        Temperatures of the first and the last step.
    threshold : float
        Experts of smaller weight are left out.
    anneal : {"linear", "exponential", "cosine"}
        How the temperature falls.
    noise : bool
        Whether scores are noisy in training.
    normalize : None, "sum" or "detached_sum"
        Whether the kept weights are divided by their sum.
    bias : bool
        Whether scores have an intercept.

    Attributes
    ----------
    temperature : Tensor of shape ()
        That of the last step that `update` was told of, which predictions use; saved with the
        parameters.

    Raises
    ------
    ValueError
        For values outside these ranges.
    MissingRoutingInputError
        In training and by `update`, without ``total_steps``.

    References
    ----------
    Nie et al., "EvoMoE: an evolutional mixture-of-experts training framework via dense-to-sparse
    gate", 2022.
    """

    temperature: Tensor

    def __init__(
        self,
        dim: int,
        n_experts: int,
        tau_start: float = 2.0,
        tau_end: float = 0.3,
        *,
        threshold: float = 1e-3,
        anneal: str = "linear",
        noise: bool = True,
        normalize: str | None = None,
        bias: bool = False,
    ):
        super().__init__(dim, n_experts)
        if not tau_start >= tau_end > 0:
            raise ValueError(
                f"temperatures must be positive and fall; got {tau_start} to {tau_end}."
            )
        if not 0 <= threshold < 1:
            raise ValueError(f"threshold must be at least 0 and below 1; got {threshold}.")
        check_option("anneal", anneal, ANNEALINGS)
        check_option("normalize", normalize, NORMALISATIONS)
        self.tau_start = tau_start
        self.tau_end = tau_end
        self.threshold = threshold
        self.anneal = anneal
        self.noise = noise
        self.normalize = normalize
        self.score = LinearScore(dim, n_experts, bias=bias)
        self.register_buffer("temperature", torch.tensor(tau_start, dtype=torch.float32))

    def flags(self, training: bool) -> RouterFlags:
        return RouterFlags(
            variable_k=self.threshold > 0 and self.n_experts > 1,
            stochastic=training and self.noise,
            differentiable=self.normalize != "detached_sum",
        )

    def scheduled(self, progress: float) -> float:
        """The temperature after this share of the training."""
        start, end = self.tau_start, self.tau_end
        if self.anneal == "exponential":
            return start * (end / start) ** progress
        if self.anneal == "cosine":
            progress = (1 - math.cos(math.pi * progress)) / 2
        return start + progress * (end - start)

    def route(self, inputs: RoutingInputs) -> Routing:
        logits = self.score(inputs.x)
        if inputs.training:
            tau: float | Tensor = self.scheduled(inputs.clock.progress)
        else:
            tau = self.temperature.to(logits.dtype)
        noisy = logits
        if inputs.training and self.noise:
            noisy = logits + gumbel_noise(tuple(logits.shape), logits, inputs)
        ranking = rank(inputs, noisy / tau, self.n_experts)
        wanted = ranking.weight.detach() >= self.threshold
        wanted[:, 0] = True
        keep = ranking.keep(wanted)
        ranking = ranking.replace(
            logits=logits, probs=activate(logits / tau, "softmax", inputs.visible)
        )
        return ranking.routing(inputs, ranking.normalised(inputs, keep, self.normalize), keep)

    def update(self, stats: RoutingStats, clock: Clock = NO_CLOCK) -> None:
        """Hold the temperature of this step for predictions."""
        self.temperature.fill_(self.scheduled(clock.progress))
