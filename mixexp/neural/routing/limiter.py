"""`CapacityLimiter`: at most so many units an expert; what does not fit is dropped and counted."""

from __future__ import annotations

import torch
from torch import Tensor

from ..checks import check_option
from .assignment import Routing
from .base import RouterFlags
from .inputs import RoutingInputs
from .select import place_in_group

POLICIES = ("position", "random", "probability")
SCOPES = ("batch", "sequence")


class CapacityLimiter:
    """A limit of ``ceil(factor * N / E)`` units an expert, N the number of choices in the scope.

    With a limit over the batch, rows compete with one another for places: another user's rows can
    push a row out. By default the limit acts in training alone.

    Parameters
    ----------
    factor : float
        Capacity in units of the mean load; from E on nothing is ever dropped.
    policy : {"position", "random", "probability"}
        Who stays: first choices before second ones, and earlier units before later ones; units
        drawn at random; or units of highest priority (`Routing.priority`, or the weight), the
        earlier ones among equals.
    scope : {"batch", "sequence"}
        Whether all units compete, or those of one segment.
    training_only : bool

    Raises
    ------
    ValueError
        For unknown options, a factor that is not positive, and routings with slots.

    References
    ----------
    Lepikhin et al., "GShard", 2021, algorithm 1, and Fedus, Zoph and Shazeer, "Switch
    Transformers", 2022, equation 3, for positions; Riquelme et al., "Scaling vision with sparse
    mixture of experts", 2021, section 4, for priorities; Hayes, Shumailov and Yona, "Buffer
    overflow in mixture of experts", 2024, for what a limit over the batch opens.
    """

    def __init__(
        self,
        factor: float,
        *,
        policy: str = "position",
        scope: str = "batch",
        training_only: bool = True,
    ):
        if not factor > 0:
            raise ValueError(f"factor must be positive; got {factor}.")
        check_option("policy", policy, POLICIES)
        check_option("scope", scope, SCOPES)
        self.factor = factor
        self.policy = policy
        self.scope = scope
        self.training_only = training_only

    def __repr__(self):
        return (
            f"CapacityLimiter({self.factor}, policy={self.policy!r}, scope={self.scope!r}, "
            f"training_only={self.training_only})"
        )

    def flags(self, router: RouterFlags, training: bool) -> RouterFlags:
        """What a router with these promises still promises behind the limit."""
        if self.training_only and not training:
            return router
        return router.but(
            causal=False,
            batch_independent=router.batch_independent and self.scope == "sequence",
            variable_k=True,
            stochastic=router.stochastic or self.policy == "random",
        )

    def __call__(self, routing: Routing, inputs: RoutingInputs) -> Routing:
        """The routing without the pairs that do not fit."""
        if self.training_only and not inputs.training:
            return routing
        if routing.slot_expert is not None:
            raise ValueError(
                "the experts' rows are slots, whose number is fixed: there is nothing to limit. "
                "Leave the limiter out."
            )
        if self.scope == "batch":
            scope = torch.zeros_like(routing.unit)
        else:
            inputs.require(frozenset({"segment"}), type(self).__name__)
            scope = torch.unique(inputs.segment, return_inverse=True)[1][routing.unit]
        competitors = scope * routing.n_experts + routing.expert
        place = place_in_group(competitors, self._order(routing, inputs))
        return routing.select(place < self._capacity(scope, routing.n_experts)[scope])

    def _capacity(self, scope: Tensor, n_experts: int) -> Tensor:
        """Units an expert takes in each scope, one entry a scope."""
        mean = torch.bincount(scope).double() / n_experts
        # a rounding error above a whole number is not another place
        return torch.ceil(self.factor * mean - 1e-9)

    def _order(self, routing: Routing, inputs: RoutingInputs) -> Tensor:
        """Pairs, first to last to get a place; equals in the order of units."""
        by_unit = routing.units_order()
        if self.policy == "position":
            if routing.rank is None:
                return by_unit
            return by_unit[torch.argsort(routing.rank[by_unit], stable=True)]
        if self.policy == "random":
            # one draw a unit: what others choose does not shift it
            draw = torch.rand(
                routing.n_units, generator=inputs.generator, device=routing.unit.device
            )
            return by_unit[torch.argsort(draw[routing.unit[by_unit]], stable=True)]
        value = routing.weight if routing.priority is None else routing.priority
        return by_unit[torch.argsort(value.detach()[by_unit], descending=True, stable=True)]
