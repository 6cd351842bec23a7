"""Estimators: thin scikit-learn shells around `em`."""

from .blome import BLoMERegressor
from .classifier import MoEClassifier
from .conformal import ConformalMoERegressor, conformalize
from .glome import GLoMERegressor
from .intervals import Intervals, intervals
from .mixed import MixedEffectsMoERegressor
from .regressor import MoERegressor

__all__ = [
    "BLoMERegressor",
    "ConformalMoERegressor",
    "GLoMERegressor",
    "Intervals",
    "MixedEffectsMoERegressor",
    "MoEClassifier",
    "MoERegressor",
    "conformalize",
    "intervals",
]
