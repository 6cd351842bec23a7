"""Slope heuristics: a criterion whose constant is learnt from the collection of fits."""

from mixexp.selection.slope.heuristic import SlopeHeuristic
from mixexp.selection.slope.result import DimensionJump, SlopeEstimation, SlopeNote

__all__ = ["DimensionJump", "SlopeEstimation", "SlopeHeuristic", "SlopeNote"]
