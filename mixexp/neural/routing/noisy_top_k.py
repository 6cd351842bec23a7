"""Noisy top-k: scores with learned Gaussian noise, and the smooth estimate of the load."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from ..checks import check_k
from .assignment import Routing, from_choices
from .base import Router, RouterFlags, hide, register_router, seen_logits, top_visible
from .inputs import RoutingInputs
from .noise import normal_noise
from .scores import LinearScore, activate
from .select import top_k


@register_router("noisy_top_k")
class NoisyTopKRouter(Router):
    """Each unit goes to the k experts of highest noisy score, weighted by their softmax.

    In training ``h = W x + eps * std(x)`` with standard normal eps and a learned standard deviation
    ``std(x) = softplus(V x) + min_std``; at prediction ``h = W x``. Weights are the softmax of h
    over the k chosen. ``stats.load_sum`` is a smooth estimate of the counts: the sum over units of
    the probability that an expert is chosen when its own noise is drawn anew and that of the others
    stays. Without noise it is the counts.

    Parameters
    ----------
    dim, n_experts : int
    k : int
        Experts a unit, at least 2 where there are several experts.
    zero_init : bool
        Whether W and V begin at zero, as published: the noise alone then spreads the first units
        evenly. False draws them.
    min_std : float
        Lower bound of the standard deviation, which keeps the load's derivative finite.

    Raises
    ------
    ValueError
        For k outside 1 ... E, and for k = 1 among several experts: the only weight would always be
        one, and the outputs would teach the router nothing.

    References
    ----------
    Shazeer et al., "Outrageously large neural networks", 2017, equations 3 to 5 and appendix A.
    """

    def __init__(
        self,
        dim: int,
        n_experts: int,
        k: int = 2,
        *,
        zero_init: bool = True,
        min_std: float = 1e-2,
    ):
        super().__init__(dim, n_experts)
        check_k(k, n_experts)
        if k == 1 and n_experts > 1:
            raise ValueError(
                "NoisyTopKRouter weighs by a softmax over the chosen experts: with k=1 the weight "
                "is always one, and the router gets no gradient. Use k=2, or SwitchRouter."
            )
        if not min_std > 0:
            raise ValueError(f"min_std must be positive; got {min_std}.")
        self.k = k
        self.min_std = min_std
        std = 0.0 if zero_init else None
        self.score = LinearScore(dim, n_experts, std=std)
        self.noise_score = LinearScore(dim, n_experts, std=std)

    def flags(self, training: bool) -> RouterFlags:
        return RouterFlags(stochastic=training)

    def route(self, inputs: RoutingInputs) -> Routing:
        clean = self.score(inputs.x)
        if not inputs.training:
            routing = self._choose(inputs, clean, clean)
            return routing.replace(stats=routing.stats.replace(load_sum=routing.stats.counts))
        std = F.softplus(self.noise_score(inputs.x)) + self.min_std
        noisy = clean + normal_noise(clean, inputs) * std
        routing = self._choose(inputs, noisy, clean)
        chance = probability_of_choice(clean, noisy, std, self.k, inputs)
        if inputs.valid is not None:
            chance = chance[inputs.valid]
        return routing.replace(stats=routing.stats.replace(load_sum=chance.sum(0)))

    def _choose(self, inputs: RoutingInputs, scores: Tensor, clean: Tensor) -> Routing:
        expert, seen = top_visible(scores, self.k, inputs)
        return from_choices(
            inputs,
            self.n_experts,
            expert,
            activate(scores.gather(1, expert), "softmax", seen),
            keep=seen,
            probs=activate(clean, "softmax", inputs.visible),
            logits=seen_logits(clean, inputs),
        )


def probability_of_choice(
    clean: Tensor, noisy: Tensor, std: Tensor, k: int, inputs: RoutingInputs
) -> Tensor:
    """Probability that each expert is among the k best when its own noise is drawn anew.

    ``Phi((clean_e - threshold_e) / std_e)``, where the threshold is the k-th largest noisy score
    of the other experts; shape (T, E). Zero at hidden experts, one where at most k are visible.
    """
    hidden = hide(noisy, inputs)
    places = top_k(hidden, k + 1)
    best = hidden.gather(1, places)
    if best.shape[1] <= k:
        best = F.pad(best, (0, 1), value=-torch.inf)
    among = torch.zeros_like(hidden, dtype=torch.bool).scatter(1, places[:, :k], True)
    threshold = torch.where(among, best[:, k : k + 1], best[:, k - 1 : k])
    free = threshold == -torch.inf
    # both branches of a `where` are differentiated: the infinite one is taken out before
    margin = (clean - threshold.masked_fill(free, 0.0)) / std
    chance = torch.where(free, 1.0, torch.special.ndtr(margin))
    return chance if inputs.visible is None else chance.masked_fill(~inputs.visible, 0.0)
