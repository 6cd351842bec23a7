"""Regularisation paths: mixtures over a grid of penalty strengths, and choosing one of them."""

from .path import MoEPath
from .relaxed import relax
from .result import PathResult

__all__ = [
    "MoEPath",
    "PathResult",
    "relax",
]
