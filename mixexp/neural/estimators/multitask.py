"""`MultiTaskMoERegressor` and `MultiTaskMoEClassifier`: shared experts, a gate a task."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from scipy.special import softmax
from sklearn.base import ClassifierMixin, RegressorMixin
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import (
    assert_all_finite,
    check_array,
    check_is_fitted,
    column_or_1d,
)

from ..._validation import refuse_missing, refuse_text
from ._columns import moments
from ._multitask import BaseMultiTaskMoE

MISSING = -1  # code of a class that is not known


class MultiTaskMoERegressor(RegressorMixin, BaseMultiTaskMoE):
    """Several numeric targets by experts that all share and a gate of each target's own.

    Target t is ``tower_t(relu(sum_e w_te(x) f_e(x)))`` with shared experts f_e, a router w_t and a
    linear tower for each task. A target may be missing (NaN) in some rows.

    Parameters
    ----------
    n_experts : int
    router : str, Router, class or functools.partial
        As in `NeuralMoERegressor`; one is made for each task.
    d_expert, n_layers, width : int
        Hidden width, hidden layers and width of the output of an expert.
    dropout : float
        Share of the experts' inputs set to zero in training.
    numeric_embedding : None, str or part
    categorical_features : "auto", None, or columns by name, position or mask
    training : Training, optional
    allow_batch_dependence : bool
    dtype : {"float32", "float64"}
    device : str or None
    random_state : int, Generator, RandomState or None
        These as in `NeuralMoERegressor`.

    References
    ----------
    Ma et al., "Modeling task relationships in multi-task learning with multi-gate
    mixture-of-experts", 2018; "Sparsely activated mixture-of-experts are robust multi-task
    learners", 2022, for tasks that are added.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.datasets import load_linnerud
    >>> from mixexp.neural import MultiTaskMoERegressor, Training
    >>> X, Y = load_linnerud(return_X_y=True)
    >>> model = MultiTaskMoERegressor(2, training=Training(3)).fit(X, Y)
    >>> model.predict(X).shape
    (20, 3)
    """

    _classifies = False
    _unknown = np.nan

    def partial_fit(self, X, y, sample_weight=None):
        """One epoch over more rows, at a constant learning rate and without validation.

        The first call fixes the standardisation, the bins, the categories and the tasks.

        Parameters
        ----------
        X, y, sample_weight
            As in `fit`.
        """
        return self._partial_fit(X, y, sample_weight)

    def _check_target(self, y, *, first):
        refuse_text(y, "MultiTaskMoEClassifier")
        y = check_array(
            y, ensure_2d=False, dtype=np.float64, input_name="y", estimator=self,
            ensure_all_finite="allow-nan" if np.asarray(y).ndim == 2 else True,
        )  # fmt: skip
        if y.ndim > 2:
            raise ValueError(f"y must have shape (n,) or (n, tasks); got {y.shape}.")
        if self._column_alone:
            return y.ravel()
        flat = y.ndim == 1
        y = np.where(np.isnan(y), np.nan, y).reshape(len(y), -1)  # one bit pattern of NaN
        if first:
            self._flat, self._n_targets = flat, y.shape[1]
        elif y.shape[1] != len(self._centre):
            raise ValueError(f"y has {y.shape[1]} targets; the model has {len(self._centre)}.")
        return y

    def _known(self, coded):
        return ~np.isnan(coded)

    def _fit_target(self, target, weight):
        self._centre, self._scale = np.empty(0), np.empty(0)
        for column in target.T:
            self._extend_target(column, weight)

    def _extend_target(self, target, weight):
        known = ~np.isnan(target)
        if not known.any():
            raise ValueError(
                f"task {len(self._centre)} has no known target among the training rows."
            )
        centre, scale, flat = moments(target[known, None], weight[known])
        self._centre = np.append(self._centre, centre)
        self._scale = np.append(self._scale, np.where(flat, 1.0, scale))

    def _coded(self, target):
        return target if target.ndim == 1 else (target - self._centre) / self._scale

    def _out_dims(self):
        return [1] * len(self._centre)

    def add_task(self, X, y, sample_weight=None, *, like=None):
        """As `BaseMultiTaskMoE.add_task`; predictions then have a column for every task."""
        super().add_task(X, y, sample_weight, like=like)
        self._flat = False
        return self

    add_task.__doc__ = BaseMultiTaskMoE.add_task.__doc__

    def predict(self, X):
        """Predictions of shape (n, n_tasks), or (n,) where y had one axis."""
        check_is_fitted(self)
        found = self._centre + self._scale * np.concatenate(self._outputs(X), axis=1)
        return found[:, 0] if self._flat else found


class MultiTaskMoEClassifier(ClassifierMixin, BaseMultiTaskMoE):
    """Several class targets by experts that all share and a gate of each target's own.

    Task t has the class probabilities ``softmax(tower_t(relu(sum_e w_te(x) f_e(x))))``. A label
    may be missing (None or NaN) in some rows.

    Parameters
    ----------
    n_experts : int
    router : str, Router, class or functools.partial
        As in `NeuralMoEClassifier`; one is made for each task.
    d_expert, n_layers, width : int
        Hidden width, hidden layers and width of the output of an expert.
    dropout : float
        Share of the experts' inputs set to zero in training.
    numeric_embedding : None, str or part
    categorical_features : "auto", None, or columns by name, position or mask
    training : Training, optional
    allow_batch_dependence : bool
    dtype : {"float32", "float64"}
    device : str or None
    random_state : int, Generator, RandomState or None
        These as in `NeuralMoEClassifier`.

    Attributes
    ----------
    classes_ : ndarray, or list of ndarrays
        A list where y has two axes.

    References
    ----------
    Ma et al., "Modeling task relationships in multi-task learning with multi-gate
    mixture-of-experts", 2018.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.datasets import load_iris
    >>> from mixexp.neural import MultiTaskMoEClassifier, Training
    >>> X, y = load_iris(return_X_y=True)
    >>> model = MultiTaskMoEClassifier(2, training=Training(3)).fit(X, np.c_[y, y > 0])
    >>> [proba.shape for proba in model.predict_proba(X)]
    [(150, 3), (150, 2)]
    """

    _classifies = True
    _unknown = MISSING
    _labels: list[np.ndarray]

    def fit(self, X, y, sample_weight=None):
        """Train on the rows of a table.

        Parameters
        ----------
        X : array-like or data frame of shape (n, p)
        y : array-like of shape (n,) or (n, tasks)
            Labels; with two axes None and NaN are labels that are not known.
        sample_weight : array-like of shape (n,), optional
            A weight of 2 equals the row twice, a weight of 0 the row left out.
        """
        self._given = None
        return super().fit(X, y, sample_weight)

    def partial_fit(self, X, y, classes=None, sample_weight=None):
        """One epoch over more rows, at a constant learning rate and without validation.

        The first call fixes the standardisation, the bins, the categories, tasks and classes.

        Parameters
        ----------
        X, y, sample_weight
            As in `fit`.
        classes : array-like, or list of them by task, optional
            All classes; needed in the first call where its rows do not have them all.
        """
        self._given = classes
        return self._partial_fit(X, y, sample_weight)

    def _check_target(self, y, *, first):
        if self._column_alone:
            labels = np.asarray(y, dtype=object).ravel()
            self._new_classes = _classes(labels, len(self._labels))
            return _codes(labels, self._new_classes)
        labels, flat = _label_columns(y)
        if flat:
            refuse_missing(y)
        if first:
            self._flat = flat
            self._labels = self._all_classes(labels)
            self.classes_ = self._labels[0] if flat else self._labels
        elif labels.shape[1] != len(self._labels):
            raise ValueError(f"y has {labels.shape[1]} tasks; the model has {len(self._labels)}.")
        pairs = zip(labels.T, self._labels, strict=True)
        return np.stack([_codes(column, classes) for column, classes in pairs], axis=1)

    def _all_classes(self, labels) -> list[np.ndarray]:
        """The classes of every task: those given, or those of the labels."""
        if self._given is None:
            return [_classes(column, t) for t, column in enumerate(labels.T)]
        given = [self._given] if self._flat else list(self._given)
        if len(given) != labels.shape[1]:
            raise ValueError(f"classes are of {len(given)} tasks; y has {labels.shape[1]}.")
        return [np.unique(classes) for classes in given]

    def _known(self, coded):
        return coded >= 0

    def _extend_target(self, target, weight):
        self._labels = [*self._labels, self._new_classes]
        self.classes_, self._flat = self._labels, False

    def _coded(self, target):
        return target

    def _out_dims(self):
        return [len(classes) for classes in self._labels]

    def predict_proba(self, X):
        """Class probabilities (n, n_classes), or a list with one array a task."""
        check_is_fitted(self)
        found = [softmax(output, axis=1) for output in self._outputs(X)]
        return found[0] if self._flat else found

    def predict(self, X):
        """Most probable classes (n,), or (n, n_tasks)."""
        check_is_fitted(self)
        outputs = zip(self._outputs(X), self._labels, strict=True)
        columns = [classes[output.argmax(axis=1)] for output, classes in outputs]
        if self._flat:
            return columns[0]
        if len({column.dtype.kind for column in columns}) > 1:
            columns = [column.astype(object) for column in columns]
        return np.stack(columns, axis=1)

    def score(self, X, y, sample_weight=None):
        """Share of the known labels that are predicted, the mean over tasks."""
        labels, _ = _label_columns(y)
        found = self.predict(X).reshape(len(labels), -1)
        weight = np.ones(len(labels)) if sample_weight is None else np.asarray(sample_weight)
        known = ~pd.isna(labels)
        shares = [
            np.average(found[k, t] == labels[k, t], weights=weight[k])
            for t, k in enumerate(known.T)
        ]
        return float(np.mean(shares))


def _label_columns(y) -> tuple[Any, bool]:
    """Labels as objects of shape (n, tasks), and whether y had one axis."""
    labels: Any = np.asarray(y)
    if labels.ndim == 2 and labels.shape[1] == 1:
        labels = column_or_1d(labels, warn=True)
    if labels.ndim not in (1, 2):
        raise ValueError(f"y must have shape (n,) or (n, tasks); got {labels.shape}.")
    if labels.dtype.kind == "f":
        assert_all_finite(labels, allow_nan=labels.ndim == 2, input_name="y")
        for column in labels.reshape(len(labels), -1).T:
            check_classification_targets(column[~np.isnan(column)] if labels.ndim == 2 else column)
    return labels.astype(object).reshape(len(labels), -1), labels.ndim == 1


def _classes(labels: np.ndarray, task: int) -> np.ndarray:
    """Distinct known labels of a task."""
    known = labels[~pd.isna(labels)]
    if not len(known):
        raise ValueError(f"task {task} has no known label.")
    return np.unique(np.array(known.tolist()))


def _codes(labels: np.ndarray, classes: np.ndarray) -> np.ndarray:
    """Positions of labels among the classes; `MISSING` where they are not known."""
    code = {label: i for i, label in enumerate(classes.tolist())}
    known = ~pd.isna(labels)
    unknown = {label for label in labels[known].tolist() if label not in code}
    if unknown:
        raise ValueError(f"y holds classes {sorted(map(str, unknown))} that the model has not.")
    pairs = zip(labels.tolist(), known.tolist(), strict=True)
    return np.array([code[label] if k else MISSING for label, k in pairs], dtype=np.int64)
