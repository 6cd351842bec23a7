"""Estimators: thin scikit-learn shells around `em`."""

from ._agreement import ContextAgreement
from .blome import BLoMERegressor
from .classifier import MoEClassifier
from .conformal import ConformalMoERegressor, conformalize
from .contextual import ContextualMoERegressor
from .glome import GLoMERegressor
from .intervals import Intervals, intervals
from .mixed import MixedEffectsMoERegressor
from .possibility import (
    combine_possibilities,
    possibility_certain,
    possibility_from_labels,
    possibility_from_tags,
    possibility_trapezoid,
    to_probability,
)
from .regressor import MoERegressor

__all__ = [
    "BLoMERegressor",
    "ConformalMoERegressor",
    "ContextAgreement",
    "ContextualMoERegressor",
    "GLoMERegressor",
    "Intervals",
    "MixedEffectsMoERegressor",
    "MoEClassifier",
    "MoERegressor",
    "combine_possibilities",
    "conformalize",
    "intervals",
    "possibility_certain",
    "possibility_from_labels",
    "possibility_from_tags",
    "possibility_trapezoid",
    "to_probability",
]
