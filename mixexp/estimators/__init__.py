"""Estimators: thin scikit-learn shells around `em`."""

from .blome import BLoMERegressor
from .classifier import MoEClassifier
from .conformal import ConformalMoERegressor, conformalize
from .glome import GLoMERegressor
<<<<<<< HEAD
from .intervals import Intervals, intervals
=======
from .mixed import MixedEffectsMoERegressor
>>>>>>> fb9ca2c (MixedEffectsMoERegressor: random effects of groups in experts and gate)
from .regressor import MoERegressor

__all__ = [
    "BLoMERegressor",
    "ConformalMoERegressor",
    "GLoMERegressor",
<<<<<<< HEAD
    "Intervals",
=======
    "MixedEffectsMoERegressor",
>>>>>>> fb9ca2c (MixedEffectsMoERegressor: random effects of groups in experts and gate)
    "MoEClassifier",
    "MoERegressor",
    "conformalize",
    "intervals",
]
