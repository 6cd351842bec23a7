"""Estimators: thin scikit-learn shells around `em`."""

from ._saving import load
from .classifier import MoEClassifier
from .regressor import MoERegressor

__all__ = ["MoEClassifier", "MoERegressor", "load"]
