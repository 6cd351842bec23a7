"""Choosing a mixture of experts: criteria, the study, and what is computed from the winner."""

from mixexp._component import CRITERIA
from mixexp.selection.compare import criteria_table
from mixexp.selection.criteria import AIC, AIC3, BIC, CAIC, ICL, AICc, Criterion
from mixexp.selection.loading import load
from mixexp.selection.merging import MergePath, merge_path
from mixexp.selection.overlap import NEC
from mixexp.selection.path import MoEPath, PathResult, relax
from mixexp.selection.result import StudyResult
from mixexp.selection.slope import SlopeHeuristic
from mixexp.selection.slope_result import DimensionJump, SlopeEstimation, SlopeNote
from mixexp.selection.sparse import EBIC, ModifiedBIC
from mixexp.selection.study import SelectionStudy
from mixexp.selection.table_model import TableModel

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
    "StudyResult",
    "TableModel",
    "criteria_table",
    "load",
    "merge_path",
    "relax",
]
