"""Scikit-learn estimators of neural mixtures of experts, for tables."""

from .classifier import NeuralMoEClassifier
from .regressor import NeuralMoERegressor

__all__ = ["NeuralMoEClassifier", "NeuralMoERegressor"]
