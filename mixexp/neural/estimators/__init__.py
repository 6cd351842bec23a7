"""Scikit-learn estimators of neural mixtures of experts, for tables."""

from .classifier import NeuralMoEClassifier
from .local import LocalExpertClassifier, LocalExpertRegressor
from .multitask import MultiTaskMoEClassifier, MultiTaskMoERegressor
from .regressor import NeuralMoERegressor
from .sources import SourceMoEClassifier, SourceMoERegressor

__all__ = [
    "LocalExpertClassifier",
    "LocalExpertRegressor",
    "MultiTaskMoEClassifier",
    "MultiTaskMoERegressor",
    "NeuralMoEClassifier",
    "NeuralMoERegressor",
    "SourceMoEClassifier",
    "SourceMoERegressor",
]
