"""Auxiliary losses by name, from the routings of a step."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from torch import Tensor

from ..losses import (
    importance_loss,
    load_balancing_loss,
    mutual_information_loss,
    router_entropy_loss,
    router_z_loss,
    selection_entropy_loss,
)
from ..routing import Routing

# Losses formed from the statistics of one layer; a router's own losses come with its routing.
BY_STATISTICS: dict[str, Callable] = {
    "load_balancing": load_balancing_loss,
    "importance": importance_loss,
    "router_z": router_z_loss,
    "router_entropy": router_entropy_loss,
    "selection_entropy": selection_entropy_loss,
    "mutual_information": mutual_information_loss,
}


def auxiliary_losses(routings: Sequence[Routing], names) -> dict[str, Tensor]:
    """The named losses, unscaled, each the mean over the layers that have it.

    Raises
    ------
    ValueError
        For a name that neither the statistics nor a router provides.
    """
    found = {}
    for name in names:
        if name in BY_STATISTICS:
            parts = [BY_STATISTICS[name](routing.stats) for routing in routings]
        else:
            parts = [routing.losses[name] for routing in routings if name in routing.losses]
        if not parts:
            own = {name for routing in routings for name in routing.losses}
            known = sorted({*BY_STATISTICS, *own})
            raise ValueError(f"loss_weights names {name!r}; these routers have {known}.")
        found[name] = sum(parts[1:], parts[0]) / len(parts)
    return found
