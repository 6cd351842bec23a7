"""Choosing a mixture of experts: criteria, the study, and what is computed from the winner."""

from mixexp._component import CRITERIA
from mixexp.selection.criteria import AIC, BIC, ICL, AICc, Criterion
from mixexp.selection.result import StudyResult
from mixexp.selection.study import SelectionStudy

__all__ = ["AIC", "BIC", "CRITERIA", "ICL", "AICc", "Criterion", "SelectionStudy", "StudyResult"]
