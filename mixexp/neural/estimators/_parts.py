"""What estimators that are made of other estimators share: rows, probabilities, defaults."""

from __future__ import annotations

import numpy as np
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler


def rows_of(X, index):
    """Rows of an array, a frame or a list."""
    return X.iloc[index] if hasattr(X, "iloc") else np.asarray(X)[index]


def aligned(proba, model, classes: np.ndarray) -> np.ndarray:
    """A model's class probabilities with a column for each of ``classes``."""
    out = np.zeros((len(proba), len(classes)))
    out[:, np.searchsorted(classes, model.classes_)] = proba
    return out


def default_classifier() -> Pipeline:
    """Logistic regression of standardised columns."""
    return make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))


def default_regressor() -> Pipeline:
    """Ridge regression of standardised columns."""
    return make_pipeline(StandardScaler(), Ridge())
