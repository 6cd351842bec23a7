"""Figures from result objects; every function draws on Matplotlib axes and returns them."""

from mixexp.plotting.checks import plot_calibration, plot_residuals
from mixexp.plotting.criteria import plot_criteria
from mixexp.plotting.model import plot_fit_lines, plot_gate_regions, plot_partial_effects

__all__ = [
    "plot_calibration",
    "plot_criteria",
    "plot_fit_lines",
    "plot_gate_regions",
    "plot_partial_effects",
    "plot_residuals",
]
