"""Layers made of a router and a bank of experts."""

from .moe import MoELayer
from .trace import RoutingTrace

__all__ = ["MoELayer", "RoutingTrace"]
