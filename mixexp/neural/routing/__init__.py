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
from .broadcast import BroadcastUncertain
from .distilled import DistilledRouter
from .gumbel import GumbelRouter
from .inputs import Clock, MissingRoutingInputError, RoutingInputs
from .limiter import CapacityLimiter
from .masked import MaskedRouter, visible_by_frequency
from .noisy_top_k import NoisyTopKRouter
from .pinned import PinnedRouter
from .relu import ReLURouter
from .stats import RoutingStats
from .top_k import SwitchRouter, TopKRouter
from .top_p import TopPRouter

__all__ = [
    "BroadcastUncertain",
    "CapacityLimiter",
    "DistilledRouter",
    "MaskedRouter",
    "PinnedRouter",
    "visible_by_frequency",
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
