"""Layers made of a router and a bank of experts, and a small language model of them."""

from .base import RoutedLayer
from .dense import FeedForward
from .moe import MoELayer
from .multi_head import MultiHeadMoE
from .peer import PEERLayer
from .trace import RoutingTrace
from .transformer import MoETransformerLM

__all__ = [
    "FeedForward",
    "MoELayer",
    "MoETransformerLM",
    "MultiHeadMoE",
    "PEERLayer",
    "RoutedLayer",
    "RoutingTrace",
]
