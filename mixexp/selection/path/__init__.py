"""Regularisation paths: mixtures over a grid of penalty strengths, and choosing one of them."""

from .estimators import LassoMoEClassifierCV, LassoMoERegressorCV
from .path import MoEPath
from .relaxed import relax
from .result import PathResult
from .stability import StabilitySelection
from .stability_result import StabilityResult

__all__ = [
    "LassoMoEClassifierCV",
    "LassoMoERegressorCV",
    "MoEPath",
    "PathResult",
    "StabilityResult",
    "StabilitySelection",
    "relax",
]
