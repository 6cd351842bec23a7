"""Estimators: thin scikit-learn shells around `em`."""

from .blome import BLoMERegressor
from .classifier import MoEClassifier
from .glome import GLoMERegressor
from .regressor import MoERegressor

__all__ = ["BLoMERegressor", "GLoMERegressor", "MoEClassifier", "MoERegressor"]
