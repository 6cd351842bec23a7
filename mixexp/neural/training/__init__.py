"""The training loop of the estimators."""

from .auxiliary import auxiliary_losses
from .loop import Objective, Step, TrainingResult, train
from .schedules import SCHEDULES
from .settings import Training, TrainingProgress

__all__ = [
    "SCHEDULES",
    "Objective",
    "Step",
    "Training",
    "TrainingProgress",
    "TrainingResult",
    "auxiliary_losses",
    "train",
]
