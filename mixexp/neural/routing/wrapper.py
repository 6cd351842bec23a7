"""What routers around another router share: its promises, and choices changed on its terms."""

from __future__ import annotations

import torch
from torch import Tensor

from .assignment import Routing, from_mask
from .base import NO_CLOCK, Router, RouterFlags
from .inputs import Clock, RoutingInputs
from .select import place_in_group
from .stats import RoutingStats

KEEP = ("sum", "scale")


class RouterWrapper(Router):
    """A router that asks another one and changes the question or the answer.

    Parameters
    ----------
    base : Router
    needs : iterable of str
        Fields of `RoutingInputs` needed besides the base's.
    """

    def __init__(self, base: Router, needs: tuple[str, ...] = ()):
        super().__init__(base.dim, base.n_experts)
        self.base = base
        self.needs = base.needs | frozenset(needs)

    def flags(self, training: bool) -> RouterFlags:
        return self.base.flags(training)

    def update(self, stats: RoutingStats, clock: Clock = NO_CLOCK) -> None:
        """What the base learns from the step's statistics."""
        self.base.update(stats, clock)


def probabilities_of(routing: Routing, who: str) -> Tensor:
    """Probabilities of a base's routing, shape (T, E), or an error that names what is missing."""
    if routing.slot_expert is not None:
        raise ValueError(
            f"{who} changes which experts a unit goes to; this base mixes units in slots. Wrap a "
            "router that sends units themselves."
        )
    if routing.probs is None:
        raise ValueError(
            f"{who} weighs experts that the base did not choose by its probabilities; this base "
            "has none. Wrap a router with scores."
        )
    return routing.probs


def choices(routing: Routing) -> Tensor:
    """Which experts each unit goes to, BoolTensor of shape (T, E)."""
    chosen = torch.zeros(
        routing.n_units, routing.n_experts, dtype=torch.bool, device=routing.unit.device
    )
    chosen[routing.unit, routing.expert] = True
    return chosen


def ranks(routing: Routing) -> Tensor:
    """Rank of each expert among a unit's choices, 0 first, shape (T, E); -1 where not chosen."""
    places = routing.unit.new_full((routing.n_units, routing.n_experts), -1)
    rank = routing.rank
    if rank is None:
        best_first = torch.argsort(routing.weight.detach(), descending=True, stable=True)
        rank = place_in_group(routing.unit, best_first)
    places[routing.unit, routing.expert] = rank
    return places


def weights_on(routing: Routing, chosen: Tensor, keep: str, who: str) -> Tensor:
    """Weights of other choices on the base's terms, shape (T, E), for `rechosen`.

    They are the base's probabilities times one factor a unit: the one that lets the weights sum
    to what the base's do (``"sum"``), or the base's own ratio of weights to probabilities
    (``"scale"``).
    """
    probs = probabilities_of(routing, who)
    total = probs.new_zeros(routing.n_units).index_add(0, routing.unit, routing.weight)
    over = chosen if keep == "sum" else choices(routing)
    mass = torch.where(over, probs, 0.0).sum(1)
    return probs * (total / mass.clamp_min(torch.finfo(probs.dtype).tiny))[:, None]


def rechosen(
    routing: Routing, inputs: RoutingInputs, changed: Tensor, chosen: Tensor, weight: Tensor
) -> Routing:
    """The routing with other choices for some units; the others keep theirs bit for bit.

    Parameters
    ----------
    routing : Routing
        Of units themselves, with probabilities.
    inputs : RoutingInputs
    changed : BoolTensor of shape (T,)
    chosen : BoolTensor of shape (T, E)
    weight : Tensor of shape (T, E)
    """
    if not bool(changed.any()):
        return routing
    every = changed[:, None]
    found = from_mask(
        inputs,
        torch.where(every, chosen, choices(routing)),
        torch.where(every, weight, routing.weights()),
        probs=routing.probs,
        logits=routing.logits,
        residual=routing.residual,
        losses=routing.losses,
        state=routing.state,
    )
    # the smooth load is of the base's own choices
    return found.replace(stats=found.stats.replace(load_sum=routing.stats.load_sum))
