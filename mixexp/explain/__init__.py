"""What a fitted model says and how well: tables by name, lines, effects, residuals, calibration."""

from mixexp.explain.explanation import Explanation, explain

__all__ = ["Explanation", "explain"]
