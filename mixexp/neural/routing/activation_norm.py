"""Autonomy of experts: experts are chosen by how strongly they respond, without a router."""

from __future__ import annotations

import torch

from .assignment import Routing
from .base import Router, RouterFlags, register_router
from .inputs import RoutingInputs
from .ranking import check_choices, rank


@register_router("activation_norm")
class ActivationNormRouter(Router):
    """Each unit goes to the k experts whose first activations have the largest norm.

    All experts compute their first activations ``a_e = x D_e``, by the bank's `ExpertBank.probe`;
    the scores are ``||a_e||``, weights their softmax at the k best. The router has no parameters:
    what it learns, experts learn. `FactorizedExperts` makes the probe cheap, as D is of low rank;
    `MLPExperts` and banks of two layers probe with the whole first hidden layer.

    Parameters
    ----------
    dim, n_experts : int
    k : int
    normalize : None, "sum" or "detached_sum"
        Whether chosen weights are divided by their sum; published without.

    Raises
    ------
    ValueError
        For k outside 1 ... E, and in a call if the bank has another number of experts.
    NotImplementedError
        In a call, if the bank has no probe.

    References
    ----------
    Lv et al., "Autonomy-of-Experts models", 2025, section 3.
    """

    needs = frozenset({"experts"})

    def __init__(self, dim: int, n_experts: int, k: int = 2, *, normalize: str | None = None):
        super().__init__(dim, n_experts)
        check_choices(k, n_experts, normalize)
        self.k = k
        self.normalize = normalize

    def flags(self, training: bool) -> RouterFlags:
        return RouterFlags(trainable=False)

    def route(self, inputs: RoutingInputs) -> Routing:
        activations = inputs.experts.probe(inputs.x)
        if activations.shape[1] != self.n_experts:
            raise ValueError(
                f"the router has {self.n_experts} experts and the bank probes "
                f"{activations.shape[1]}: give both the same number."
            )
        ranking = rank(inputs, torch.linalg.vector_norm(activations, dim=-1), self.k)
        real = torch.ones_like(ranking.expert, dtype=torch.bool)
        weight = ranking.normalised(inputs, ranking.keep(real), self.normalize)
        return ranking.routing(inputs, weight, None)
