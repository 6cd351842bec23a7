"""Expert choice: each expert takes its best units, as many as every other expert."""

from __future__ import annotations

import torch
from torch import Tensor

from ..checks import check_option
from .assignment import Routing, from_mask
from .balanced import order_of, stable_assignment
from .base import Router, RouterFlags, register_router, seen_logits
from .inputs import RoutingInputs
from .scores import LinearScore, activate
from .select import count

SCOPES = ("batch", "sequence")


@register_router("expert_choice")
class ExpertChoiceRouter(Router):
    """Each expert takes the ``c n / E`` units of a scope, rounded up, to which it matters most.

    With probabilities ``S = softmax(W x)`` over experts, expert e takes the units of largest
    S_te and weighs them by it. Loads are equal by construction and no balance loss is needed; a
    unit has c experts on average, any number from none to E.

    The choice compares units. Over ``"batch"`` it depends on everything in the batch, over
    ``"sequence"`` on the whole segment, later positions included, so that neither may be used in a
    causal model; the second is safe to serve, one segment's answer does not depend on others.

    Parameters
    ----------
    dim, n_experts : int
    capacity_factor : float
        c, the mean number of experts a unit; E or more gives all units to all experts.
    scope : {"batch", "sequence"}
        Units among which an expert chooses.
    max_experts : int, optional
        Largest number of experts a unit has, at least c. Experts and full units then settle by
        `stable_assignment`: an expert's refused places go to its next units. With this number
        near c a place may stay empty.
    bias : bool
        Whether scores have an intercept.

    Raises
    ------
    ValueError
        For values outside these ranges.

    Notes
    -----
    Among units of equal score the earlier one is taken: in the order of the batch, or by position.
    An attacker in the same batch can use that order; over sequences there is no such attacker.

    The paper states the limit ``max_experts`` as a linear programme with entropy, solved by
    Dykstra's projections. At the published weight of the entropy these take thousands of passes,
    and their result still has to be rounded; the stable assignment holds both limits, is found in
    a few passes, and comes near to the programme's optimum.

    References
    ----------
    Zhou et al., "Mixture-of-experts with expert choice routing", 2022, equations 1 to 3; Chowdhury
    et al., "Patch-level routing in mixture-of-experts", 2023, for the choice within a sample.
    """

    def __init__(
        self,
        dim: int,
        n_experts: int,
        capacity_factor: float = 2.0,
        *,
        scope: str = "batch",
        max_experts: int | None = None,
        bias: bool = False,
    ):
        super().__init__(dim, n_experts)
        if not capacity_factor > 0:
            raise ValueError(f"capacity_factor must be positive; got {capacity_factor}.")
        check_option("scope", scope, SCOPES)
        if max_experts is not None and max_experts < min(capacity_factor, n_experts):
            raise ValueError(
                f"max_experts must be at least capacity_factor={capacity_factor}, or experts could "
                f"not fill their places; got {max_experts}."
            )
        self.capacity_factor = capacity_factor
        self.scope = scope
        self.max_experts = max_experts
        self.score = LinearScore(dim, n_experts, bias=bias)
        if scope == "sequence":
            self.needs = frozenset({"segment"})

    def flags(self, training: bool) -> RouterFlags:
        everything = self.capacity_factor >= self.n_experts and (
            self.max_experts is None or self.max_experts >= self.n_experts
        )
        return RouterFlags(
            causal=everything,
            batch_independent=everything or self.scope == "sequence",
            variable_k=not everything,
        )

    def route(self, inputs: RoutingInputs) -> Routing:
        logits = self.score(inputs.x)
        probs = activate(logits, "softmax", inputs.visible)
        return from_mask(
            inputs,
            self._chosen(inputs, probs.detach()),
            probs,
            probs=probs,
            logits=seen_logits(logits, inputs),
        )

    def _chosen(self, inputs: RoutingInputs, probs: Tensor) -> Tensor:
        """The choices, shape (T, E)."""
        preference = probs
        if inputs.visible is not None:
            preference = preference.masked_fill(~inputs.visible, -torch.inf)
        grid = units_by_scope(inputs, self.scope)
        # a last row of minus infinity stands for the empty places of short segments
        padded = torch.cat([preference, preference.new_full((1, self.n_experts), -torch.inf)])
        chosen = self._within(padded[grid], (grid < inputs.n_units).sum(1))
        found = torch.zeros_like(padded, dtype=torch.bool)
        found[grid.flatten()] = chosen.flatten(0, 1)
        return found[:-1]

    def _within(self, preference: Tensor, n_units: Tensor) -> Tensor:
        """Choices within scopes, shape (B, L, E), from preferences of that shape."""
        # the small number keeps products such as 1.1 * 10 from being rounded up twice
        size = torch.ceil(n_units.double() * self.capacity_factor / self.n_experts - 1e-9)
        size = torch.minimum(size.to(n_units.dtype), n_units)
        size = size[:, None].expand(-1, self.n_experts)
        if self.max_experts is None:
            return (order_of(preference, -2) < size[:, None]) & (preference > -torch.inf)
        return stable_assignment(preference, size, self.max_experts)


def units_by_scope(inputs: RoutingInputs, scope: str) -> Tensor:
    """Valid units of each scope in order, shape (B, L); T where a scope has fewer."""
    n = inputs.n_units
    units = torch.arange(n, device=inputs.x.device)
    if scope == "sequence" and inputs.position is not None:
        units = torch.argsort(inputs.position, stable=True)
    if inputs.valid is not None:
        units = units[inputs.valid[units]]
    if scope == "batch":
        return units[None]
    segment = inputs.segment
    assert segment is not None  # a sequence scope needs it
    ids, item = torch.unique(segment[units], return_inverse=True)
    order = torch.argsort(item, stable=True)
    length = count(item, len(ids))
    start = torch.cumsum(length, 0) - length
    within = torch.arange(len(units), device=units.device) - start[item[order]]
    longest = int(length.max()) if len(ids) else 0
    grid = units.new_full((len(ids), longest), n)
    grid[item[order], within] = units[order]
    return grid
