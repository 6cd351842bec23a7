"""Choosing a mixture of experts: criteria, the study, and what is computed from the winner."""

from mixexp._component import CRITERIA
from mixexp.selection.criteria import AIC, BIC, ICL, AICc, Criterion
from mixexp.selection.loading import load
from mixexp.selection.result import StudyResult
from mixexp.selection.study import SelectionStudy
from mixexp.selection.table_model import TableModel

__all__ = [
    "AIC",
    "BIC",
    "CRITERIA",
    "ICL",
    "AICc",
    "Criterion",
    "SelectionStudy",
    "StudyResult",
    "TableModel",
    "load",
]
