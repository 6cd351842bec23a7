"""Two-level routing: a group of experts first, then experts within it."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from .assignment import Routing, from_choices
from .base import Router, RouterFlags, register_router, seen_logits
from .inputs import RoutingInputs
from .scores import LinearScore, activate
from .select import top_k


@register_router("hierarchical")
class HierarchicalRouter(Router):
    """Units choose ``k_groups`` groups by p = softmax(W x), then ``k_local`` experts in each by q.

    Group i holds the m experts ``i m ... i m + m - 1``, with m = E / G rounded up; the last group
    has the rest. Expert ``i m + j`` has probability ``p_i q_ij``, with q_i the softmax of local
    scores over group i, and this is its weight where it is chosen. With groups as machines a unit
    travels to few of them, and then within. With one group it is `SwitchRouter` without jitter.

    Parameters
    ----------
    dim, n_experts : int
    n_groups : int, optional
        G; about the square root of E by default.
    k_groups, k_local : int
        Groups a unit chooses, and experts in each of them.
    shared_local : bool
        Whether local scores are the same for all groups: of m rows and not of E.

    Attributes
    ----------
    group_of_expert, place_in_group : LongTensor of shape (E,)
        Balance both levels by ``load_balancing_loss(stats, groups=router.group_of_expert)`` and
        ``groups=router.place_in_group``.

    Raises
    ------
    ValueError
        For numbers that are not there, and where groups of equal size leave one empty.

    References
    ----------
    He et al., "SMILE: scaling mixture-of-experts with efficient bi-level routing", 2022, equations
    4 to 8; Jordan and Jacobs, "Hierarchical mixtures of experts and the EM algorithm", 1994.
    """

    def __init__(
        self,
        dim: int,
        n_experts: int,
        n_groups: int | None = None,
        *,
        k_groups: int = 1,
        k_local: int = 1,
        shared_local: bool = False,
    ):
        super().__init__(dim, n_experts)
        if n_groups is None:
            n_groups = math.ceil(n_experts / math.ceil(math.sqrt(n_experts)))
        if not 1 <= n_groups <= n_experts:
            raise ValueError(f"n_groups must be from 1 to n_experts={n_experts}; got {n_groups}.")
        size = math.ceil(n_experts / n_groups)
        if (n_groups - 1) * size >= n_experts:
            raise ValueError(
                f"{n_experts} experts in groups of {size} fill {math.ceil(n_experts / size)} "
                f"groups, not n_groups={n_groups}: take that number."
            )
        if not 1 <= k_groups <= n_groups or not 1 <= k_local <= size:
            raise ValueError(
                f"k_groups must be from 1 to n_groups={n_groups} and k_local from 1 to the size of "
                f"a group, {size}; got {k_groups} and {k_local}."
            )
        self.n_groups = n_groups
        self.size = size
        self.k_groups = k_groups
        self.k_local = k_local
        self.shared_local = shared_local
        self.group_score = LinearScore(dim, n_groups)
        self.local_score = LinearScore(dim, size if shared_local else n_experts)

    @property
    def group_of_expert(self) -> Tensor:
        """Group of each expert."""
        return torch.arange(self.n_experts) // self.size

    @property
    def place_in_group(self) -> Tensor:
        """Number of each expert within its group."""
        return torch.arange(self.n_experts) % self.size

    def flags(self, training: bool) -> RouterFlags:
        smallest = self.n_experts - (self.n_groups - 1) * self.size
        uneven = self.k_local > smallest and self.k_groups < self.n_groups
        return RouterFlags(variable_k=uneven)

    def route(self, inputs: RoutingInputs) -> Routing:
        seen = self._seen(inputs)
        p_scores, q_scores = self.group_score(inputs.x), self._local_scores(inputs.x)
        p = activate(p_scores, "softmax", seen.any(-1))
        q = activate(q_scores, "softmax", seen)
        joint = (p[..., None] * q).flatten(1)
        expert, keep = self._chosen(p_scores, q_scores, seen)
        weight = joint.gather(1, expert)
        probs = joint[:, : self.n_experts]
        return from_choices(
            inputs,
            self.n_experts,
            expert.clamp_max(self.n_experts - 1),
            weight,
            keep=keep,
            probs=probs,
            logits=seen_logits(self._logits(p_scores, q_scores, seen), inputs),
        )

    def _local_scores(self, x: Tensor) -> Tensor:
        """Scores within groups, shape (T, G, m); places without an expert have none of meaning."""
        scores = self.local_score(x)
        if self.shared_local:
            return scores[:, None].expand(-1, self.n_groups, -1)
        padding = self.n_groups * self.size - self.n_experts
        return F.pad(scores, (0, padding)).view(-1, self.n_groups, self.size)

    def _seen(self, inputs: RoutingInputs) -> Tensor:
        """Places with an expert that may be chosen, shape (T, G, m)."""
        seen = inputs.visible
        if seen is None:
            seen = torch.ones(self.n_experts, dtype=torch.bool, device=inputs.x.device)
        padding = self.n_groups * self.size - self.n_experts
        seen = F.pad(seen.expand(inputs.n_units, -1), (0, padding))
        return seen.view(-1, self.n_groups, self.size)

    def _chosen(self, p_scores: Tensor, q_scores: Tensor, seen: Tensor) -> tuple[Tensor, Tensor]:
        """Chosen places of the grid, best groups first, and whether they may be; (T, k)."""
        group = top_k(p_scores.masked_fill(~seen.any(-1), -torch.inf), self.k_groups)
        rows = group[..., None].expand(-1, -1, self.size)
        local = q_scores.gather(1, rows).masked_fill(~seen.gather(1, rows), -torch.inf)
        place = top_k(local.flatten(0, 1), self.k_local).view(*group.shape, self.k_local)
        keep = local.gather(2, place) > -torch.inf
        return (group[..., None] * self.size + place).flatten(1), keep.flatten(1)

    def _logits(self, p_scores: Tensor, q_scores: Tensor, seen: Tensor) -> Tensor:
        """Scores of which the joint probabilities are the softmax, shape (T, E)."""
        local = torch.where(seen, q_scores, -torch.inf)
        total = torch.where(seen.any(-1), local.logsumexp(-1), 0.0)
        whole = p_scores[..., None] + q_scores - total[..., None]
        return whole.flatten(1)[:, : self.n_experts]
