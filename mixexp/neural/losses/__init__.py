"""Losses of routing, unscaled, one layer each."""

from .adaptive import AdaptiveLossCoefficient
from .balance import importance_loss, load_balancing_loss, load_loss, parameter_penalty_loss
from .entropy import (
    mutual_information_loss,
    router_entropy_loss,
    router_z_loss,
    selection_entropy_loss,
)
from .supervised import consistency_loss, supervised_routing_loss
from .sync import sync_routing_stats

__all__ = [
    "AdaptiveLossCoefficient",
    "consistency_loss",
    "importance_loss",
    "load_balancing_loss",
    "load_loss",
    "mutual_information_loss",
    "parameter_penalty_loss",
    "router_entropy_loss",
    "router_z_loss",
    "selection_entropy_loss",
    "supervised_routing_loss",
    "sync_routing_stats",
]
