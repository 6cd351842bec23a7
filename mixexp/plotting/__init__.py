"""Figures from result objects; every function draws on Matplotlib axes and returns them."""

from mixexp.plotting.checks import plot_calibration, plot_residuals
from mixexp.plotting.criteria import plot_criteria, plot_criterion_curves
from mixexp.plotting.dendrogram import plot_dendrogram
from mixexp.plotting.diagnostics import (
    plot_gate_calibration,
    plot_influence,
    plot_uncertainty,
    plot_worm,
)
from mixexp.plotting.model import plot_fit_lines, plot_gate_regions, plot_partial_effects
from mixexp.plotting.path import plot_path
from mixexp.plotting.path_scores import plot_path_curves, plot_path_surface
from mixexp.plotting.rates import plot_rates
from mixexp.plotting.slope import plot_jump, plot_slope
from mixexp.plotting.stability import plot_stability
from mixexp.plotting.tree import plot_tree

__all__ = [
    "plot_calibration",
    "plot_criteria",
    "plot_criterion_curves",
    "plot_dendrogram",
    "plot_fit_lines",
    "plot_gate_calibration",
    "plot_gate_regions",
    "plot_influence",
    "plot_jump",
    "plot_partial_effects",
    "plot_path",
    "plot_path_curves",
    "plot_path_surface",
    "plot_rates",
    "plot_residuals",
    "plot_slope",
    "plot_stability",
    "plot_tree",
    "plot_uncertainty",
    "plot_worm",
]
