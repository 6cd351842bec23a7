"""Penalties: each lives on the part whose M-step it enters and acts on standardised columns."""

from .base import Majoriser, Penalty, SeparablePenalty, is_active, is_sparse
from .concave import MCP, SCAD
from .convex import L1, L2, AdaptiveL1, ElasticNet
from .group import GroupLasso
from .parts import MANY_ROWS, ridge, vanishing_ridge, with_checked_penalty, with_penalty_of

__all__ = [
    "L1",
    "L2",
    "MCP",
    "SCAD",
    "AdaptiveL1",
    "ElasticNet",
    "GroupLasso",
    "Majoriser",
    "Penalty",
    "SeparablePenalty",
    "is_active",
    "is_sparse",
    "MANY_ROWS",
    "ridge",
    "vanishing_ridge",
    "with_checked_penalty",
    "with_penalty_of",
]
