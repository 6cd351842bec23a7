"""What is shown of a fit, and how it is checked: results that `mixexp.plotting` draws."""

from mixexp.explain.calibration import (
    ClassCalibration,
    Envelope,
    PITHistogram,
    Residuals,
    class_calibration,
    normal_envelope,
    pit_histogram,
)
from mixexp.explain.diagnosis import Diagnosis, diagnose
from mixexp.explain.effects import (
    Line,
    PartialEffect,
    Surface,
    fit_line,
    gate_surface,
    partial_effects,
)
from mixexp.explain.explanation import Explanation, explain
from mixexp.explain.influence import Influence, influence
from mixexp.explain.leverage import Leverage, leverage
from mixexp.explain.posterior import (
    GateCalibration,
    RowUncertainty,
    gate_calibration,
    row_uncertainty,
)
from mixexp.explain.residuals import Worm, quantile_residuals, refitted_envelope, worms

__all__ = [
    "ClassCalibration",
    "Diagnosis",
    "Envelope",
    "Explanation",
    "GateCalibration",
    "Influence",
    "Line",
    "Leverage",
    "PITHistogram",
    "PartialEffect",
    "Residuals",
    "RowUncertainty",
    "Surface",
    "Worm",
    "class_calibration",
    "diagnose",
    "explain",
    "fit_line",
    "gate_calibration",
    "gate_surface",
    "influence",
    "leverage",
    "normal_envelope",
    "partial_effects",
    "pit_histogram",
    "quantile_residuals",
    "refitted_envelope",
    "row_uncertainty",
    "worms",
]
