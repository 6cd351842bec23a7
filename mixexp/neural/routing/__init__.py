"""Routers: from units to a sparse assignment to experts."""

from .activation_norm import ActivationNormRouter
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
from .comet import COMETRouter
from .conditional import ConditionalRouter, TaskRouter
from .dense import DenseRouter
from .dense_to_sparse import DenseToSparseRouter
from .distilled import DistilledRouter
from .dselect_k import DSelectKRouter
from .expert_choice import ExpertChoiceRouter
from .external import CallableRouter
from .gumbel import GumbelRouter
from .hierarchical import HierarchicalRouter
from .inputs import Clock, MissingRoutingInputError, RoutingInputs
from .limiter import CapacityLimiter
from .masked import MaskedRouter, visible_by_frequency
from .noisy_top_k import NoisyTopKRouter
from .pinned import PinnedRouter
from .product_key import ProductKeyRouter
from .random_choice import RandomRouter
from .recurrent import RecurrentRouter, RouterCell
from .relu import ReLURouter
from .sinkhorn import SinkhornRouter
from .soft import SoftRouter
from .sparse_mixer import SparseMixerRouter
from .stats import RoutingStats
from .token_id import TokenIdRouter
from .token_mixing import TokenMixingRouter
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
    "ActivationNormRouter",
    "AdaptiveTopKRouter",
    "HierarchicalRouter",
    "ProductKeyRouter",
    "RecurrentRouter",
    "RouterCell",
    "CallableRouter",
    "Clock",
    "ConditionalRouter",
    "DenseRouter",
    "DenseToSparseRouter",
    "COMETRouter",
    "DSelectKRouter",
    "ExpertChoiceRouter",
    "GumbelRouter",
    "MissingRoutingInputError",
    "NoVisibleExpertError",
    "NoisyTopKRouter",
    "RandomRouter",
    "ReLURouter",
    "Router",
    "RouterFlags",
    "Routing",
    "RoutingInputs",
    "RoutingStats",
    "SparseMixerRouter",
    "SinkhornRouter",
    "SoftRouter",
    "SwitchRouter",
    "TokenMixingRouter",
    "TaskRouter",
    "TokenIdRouter",
    "TopKRouter",
    "TopPRouter",
    "expand",
    "from_choices",
    "from_mask",
    "hide",
    "register_router",
    "seen_logits",
]
