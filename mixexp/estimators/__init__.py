"""Estimators: thin scikit-learn shells around `em`."""

from .classifier import MoEClassifier
from .regressor import MoERegressor

__all__ = ["MoEClassifier", "MoERegressor"]
