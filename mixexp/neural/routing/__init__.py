"""Routers: from units to a sparse assignment to experts."""

from .assignment import Routing, expand, from_choices, from_mask
from .base import (
    ROUTERS,
    NoVisibleExpertError,
    Router,
    RouterFlags,
    hide,
    register_router,
    seen_logits,
)
from .inputs import Clock, MissingRoutingInputError, RoutingInputs
from .stats import RoutingStats
from .top_k import SwitchRouter, TopKRouter

__all__ = [
    "ROUTERS",
    "Clock",
    "MissingRoutingInputError",
    "NoVisibleExpertError",
    "Router",
    "RouterFlags",
    "Routing",
    "RoutingInputs",
    "RoutingStats",
    "SwitchRouter",
    "TopKRouter",
    "expand",
    "from_choices",
    "from_mask",
    "hide",
    "register_router",
    "seen_logits",
]
