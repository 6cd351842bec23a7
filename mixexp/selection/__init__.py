"""Choosing a mixture of experts: criteria, the study, and what is computed from the winner."""

from mixexp._component import CRITERIA
from mixexp.selection.bootstrap_lrt import bootstrap_lrt
from mixexp.selection.criteria import (
    AIC,
    AIC3,
    BIC,
    CAIC,
    EBIC,
    ICL,
    NEC,
    AICc,
    Criterion,
    ModifiedBIC,
    criteria_table,
)
from mixexp.selection.growing import TreeGrowth, grow_tree
from mixexp.selection.merging import MergePath, merge_path
from mixexp.selection.path import (
    MoEPath,
    PathResult,
    StabilityResult,
    StabilitySelection,
    relax,
)
from mixexp.selection.slope import DimensionJump, SlopeEstimation, SlopeHeuristic, SlopeNote
from mixexp.selection.split import SplitInference, split_inference
from mixexp.selection.study import SelectionStudy, StudyResult

__all__ = [
    "AIC",
    "AIC3",
    "BIC",
    "CAIC",
    "CRITERIA",
    "EBIC",
    "ICL",
    "NEC",
    "AICc",
    "Criterion",
    "DimensionJump",
    "MergePath",
    "MoEPath",
    "ModifiedBIC",
    "PathResult",
    "SelectionStudy",
    "SlopeEstimation",
    "SlopeHeuristic",
    "SlopeNote",
    "StabilityResult",
    "StabilitySelection",
    "SplitInference",
    "StudyResult",
    "TreeGrowth",
    "bootstrap_lrt",
    "criteria_table",
    "grow_tree",
    "merge_path",
    "relax",
    "split_inference",
]
