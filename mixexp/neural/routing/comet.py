"""COMET: k soft trees over the experts, whose smooth-step splits make the gate sparse."""

from __future__ import annotations

import torch
from torch import Tensor

from .assignment import Routing
from .base import Router, RouterFlags, register_router
from .inputs import RoutingInputs
from .scores import LinearScore
from .smooth_step import check_smooth, entropy, initial_std, smooth_step, sparse_routing


@register_router("comet")
class COMETRouter(Router):
    """k binary trees with one leaf an expert: a unit reaches leaf i of tree l with chance v_li.

    The inner nodes split by the smooth step S of a linear score, so that a leaf off the path of a
    unit has probability exactly zero. The weight of expert i is
    ``sum_l v_li exp(a_li) / sum_{l', i'} v_l'i' exp(a_l'i')`` with linear scores a: a softmax over
    the leaves of all trees that the unit reaches. The loss ``"entropy"``, the sum over trees of the
    entropies of v, leads to one leaf a tree, at most k experts a unit.

    Parameters
    ----------
    dim, n_experts : int
    k : int
        Trees, the largest number of experts a unit has at convergence.
    gamma : float
        Width of the smooth steps.
    init_std : float, optional
        Spread of the initial scores of splits for standardised units; ``gamma / 10`` by default.

    Raises
    ------
    ValueError
        For values outside these ranges.

    Notes
    -----
    The tree is complete: with E leaves it has E - 1 inner nodes whatever E is, and no leaf is
    without an expert. Which expert stands at which leaf matters, since neighbours share splits. The
    paper learns a permutation of the experts early in training, before the gate and for any gate;
    that is a matter of training and no part of this router.

    Where experts are hidden the weights are those of visible leaves alone; a unit that reaches
    hidden leaves only gets no expert.

    References
    ----------
    Ibrahim et al., "COMET: learning cardinality constrained mixture of experts with trees and
    local search", 2023, sections 3.2 and 3.3.
    """

    def __init__(
        self,
        dim: int,
        n_experts: int,
        k: int = 2,
        *,
        gamma: float = 1.0,
        init_std: float | None = None,
    ):
        super().__init__(dim, n_experts)
        check_smooth(k, gamma, init_std)
        self.k = k
        self.gamma = gamma
        std = initial_std(gamma, init_std, dim)
        self.split_score = LinearScore(dim, k * (n_experts - 1), bias=True, std=std)
        self.leaf_score = LinearScore(dim, k * n_experts, bias=True)

    def flags(self, training: bool) -> RouterFlags:
        return RouterFlags(variable_k=True)

    def route(self, inputs: RoutingInputs) -> Routing:
        n = inputs.n_units
        splits = self.split_score(inputs.x).view(n, self.k, self.n_experts - 1)
        reached = leaf_probabilities(smooth_step(splits, self.gamma))
        losses = {"entropy": entropy(reached).sum(-1)}
        if inputs.visible is not None:
            reached = reached * inputs.visible.unsqueeze(-2)
        leaf = self.leaf_score(inputs.x).view(n, self.k, self.n_experts)
        return sparse_routing(inputs, softmax_of_reached(reached, leaf), losses)


def leaf_probabilities(steps: Tensor) -> Tensor:
    """Probabilities of the leaves of complete trees, shape (..., E), from their E - 1 splits.

    Node i splits into nodes 2i + 1, with probability ``steps[..., i]``, and 2i + 2; leaves are
    numbered as nodes are, from the end of the inner ones.
    """
    n_inner = steps.shape[-1]
    level = steps.new_ones(*steps.shape[:-1], 1)
    leaves, first = [], 0
    while level.shape[-1]:
        # the inner nodes of a level are its first: leaves come last in the numbering
        n_split = min(max(n_inner - first, 0), level.shape[-1])
        parents, ended = level[..., :n_split], level[..., n_split:]
        leaves.append(ended)
        left = steps[..., first : first + n_split]
        first += level.shape[-1]
        level = torch.stack([parents * left, parents * (1 - left)], -1).flatten(-2)
    return torch.cat(leaves, -1)


def softmax_of_reached(reached: Tensor, leaf: Tensor) -> Tensor:
    """Weights of shape (T, E): the softmax of ``leaf + log reached`` over trees and leaves, added
    up over trees; exactly zero where ``reached`` is, and in a row that reaches nothing."""
    hit = reached > 0
    top = torch.where(hit, leaf, -torch.inf).flatten(1).amax(1)
    top = torch.where(torch.isfinite(top), top, 0.0).detach()[:, None, None]
    # where nothing arrives the score must not overflow; its derivative there is zero anyway
    mass = reached * torch.where(hit, leaf - top, 0.0).exp()
    total = mass.flatten(1).sum(1).clamp_min(torch.finfo(mass.dtype).tiny)
    return mass.sum(1) / total[:, None]
