"""Studies: a grid of mixtures fitted once, compared by every criterion, and one of them chosen."""

from mixexp.selection.study.result import StudyResult
from mixexp.selection.study.study import SelectionStudy

__all__ = ["SelectionStudy", "StudyResult"]
