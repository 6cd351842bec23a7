"""Routers: from units to a sparse assignment to experts."""

from .adaptive_top_k import AdaptiveTopKRouter
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
from .gumbel import GumbelRouter
from .inputs import Clock, MissingRoutingInputError, RoutingInputs
from .noisy_top_k import NoisyTopKRouter
from .relu import ReLURouter
from .stats import RoutingStats
from .top_k import SwitchRouter, TopKRouter
from .top_p import TopPRouter

__all__ = [
    "ROUTERS",
    "AdaptiveTopKRouter",
    "Clock",
    "GumbelRouter",
    "MissingRoutingInputError",
    "NoVisibleExpertError",
    "NoisyTopKRouter",
    "ReLURouter",
    "Router",
    "RouterFlags",
    "Routing",
    "RoutingInputs",
    "RoutingStats",
    "SwitchRouter",
    "TopKRouter",
    "TopPRouter",
    "expand",
    "from_choices",
    "from_mask",
    "hide",
    "register_router",
    "seen_logits",
]
