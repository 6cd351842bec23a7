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
    "Leverage",
    "PITHistogram",
    "Residuals",
    "RowUncertainty",
    "Worm",
    "class_calibration",
    "diagnose",
    "explain",
    "gate_calibration",
    "influence",
    "leverage",
    "normal_envelope",
    "pit_histogram",
    "quantile_residuals",
    "refitted_envelope",
    "row_uncertainty",
    "worms",
]
