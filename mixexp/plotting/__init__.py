"""Figures from result objects; every function draws on Matplotlib axes and returns them."""

from mixexp.plotting.checks import plot_calibration, plot_residuals
from mixexp.plotting.criteria import plot_criteria, plot_criterion_curves
from mixexp.plotting.dendrogram import plot_dendrogram
from mixexp.plotting.model import plot_fit_lines, plot_gate_regions, plot_partial_effects
from mixexp.plotting.slope import plot_jump, plot_slope

__all__ = [
    "plot_calibration",
    "plot_criteria",
    "plot_criterion_curves",
    "plot_dendrogram",
    "plot_fit_lines",
    "plot_gate_regions",
    "plot_jump",
    "plot_partial_effects",
    "plot_residuals",
    "plot_slope",
]
