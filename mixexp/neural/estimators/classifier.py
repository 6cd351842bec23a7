"""`NeuralMoEClassifier`: a sparse or dense neural mixture of experts for classes."""

from __future__ import annotations

import numpy as np
import torch
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax, logsumexp
from sklearn.base import ClassifierMixin
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import (
    assert_all_finite,
    check_consistent_length,
    column_or_1d,
)

from ..._validation import refuse_missing
from ..checks import check_option
from ._base import BaseNeuralMoE
from ._data import TabularObjective, passes
from ._heads import CLASS_HEADS
from ._tabular import CLOCK, unchanged_on_failure

CALIBRATIONS = (None, "temperature")


class NeuralMoEClassifier(ClassifierMixin, BaseNeuralMoE):
    """Classification by neural experts on a table, mixed by a router.

    With ``head="logits"`` class probabilities are ``softmax(sum_e w_e(x) f_e(x))``; with
    ``head="mixture"`` every expert has class probabilities of its own and they are mixed:
    ``sum_e w_e(x) softmax(f_e(x))``.

    Parameters
    ----------
    n_experts : int
        Experts of each layer.
    router : str, Router, class or functools.partial
        A name of `ROUTERS`, a class or partial called as (dim, n_experts), or an instance of
        matching size, which is copied for every layer.
    head : {"logits", "mixture"}
        Whether logits or probabilities are mixed.
    calibration : None or "temperature"
        Temperature scaling: log-probabilities are divided by the temperature of least log loss on
        the validation rows (which early stopping holds out).
    d_expert, n_layers : int
        Width and number of the hidden layers of an expert.
    n_blocks, width : int
        Layers of experts; all but the last are residual blocks of this width.
    dropout : float
        Share of the inputs of each layer set to zero in training.
    numeric_embedding : None, str or part
        ``"piecewise_linear"``, ``"periodic"``, `PiecewiseLinearEmbedding` or `PeriodicEmbedding`.
    categorical_features : "auto", None, or columns by name, position or mask
        As in `NeuralMoERegressor`.
    training : Training, optional
        Epochs, batches, learning rate, early stopping and auxiliary losses.
    allow_batch_dependence : bool
        Whether to predict with routers whose answer for a row depends on the other rows.
    dtype : {"float32", "float64"}
    device : str or None
        None for the CPU, ``"auto"`` for a GPU where there is one, or a name of PyTorch's.
    random_state : int, Generator, RandomState or None
        None is 0: a fit is reproducible unless asked otherwise.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
    temperature_ : float
        One without calibration.
    module_ : Module
    loss_curve_, validation_curve_ : list of float
        Log loss after every epoch.
    best_epoch_ : int or None
    n_iter_ : int
        Epochs done.

    References
    ----------
    Chernov, "(GG) MoE vs. MLP on tabular data", 2025; Guo, Pleiss, Sun and Weinberger, "On
    calibration of modern neural networks", 2017, for the temperature.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from mixexp.neural import NeuralMoEClassifier, Training
    >>> X, y = load_iris(return_X_y=True)
    >>> model = NeuralMoEClassifier(4, training=Training(max_epochs=5)).fit(X, y)
    >>> model.predict_proba(X).shape
    (150, 3)
    """

    def __init__(
        self,
        n_experts=8,
        *,
        router="gumbel",
        head="logits",
        calibration=None,
        d_expert=32,
        n_layers=1,
        n_blocks=1,
        width=64,
        dropout=0.0,
        numeric_embedding=None,
        categorical_features="auto",
        training=None,
        allow_batch_dependence=False,
        dtype="float32",
        device=None,
        random_state=None,
    ):
        super().__init__(
            n_experts,
            router=router,
            head=head,
            d_expert=d_expert,
            n_layers=n_layers,
            n_blocks=n_blocks,
            width=width,
            dropout=dropout,
            numeric_embedding=numeric_embedding,
            categorical_features=categorical_features,
            training=training,
            allow_batch_dependence=allow_batch_dependence,
            dtype=dtype,
            device=device,
            random_state=random_state,
        )
        self.calibration = calibration

    def partial_fit(self, X, y, classes=None, sample_weight=None):
        """One epoch over more rows, at a constant learning rate and without validation.

        The first call fixes the standardisation, the bins, the categories and the classes.

        Parameters
        ----------
        X, y, sample_weight
            As in `fit`.
        classes : array-like, optional
            All classes; needed in the first call where its rows do not have them all.
        """
        with unchanged_on_failure(self):
            self._given_classes = None if classes is None else np.unique(classes)
            return self._partial_fit(X, y, sample_weight)

    def fit(self, X, y, sample_weight=None):
        """Train on the rows of a table.

        Parameters
        ----------
        X : array-like or data frame of shape (n, p)
        y : array-like of shape (n,)
            Classes.
        sample_weight : array-like of shape (n,), optional
            A weight of 2 equals the row twice, a weight of 0 the row left out.
        """
        with unchanged_on_failure(self):
            self._given_classes = None
            return super().fit(X, y, sample_weight)

    def _settings(self):
        settings = super()._settings()
        check_option("head", self.head, sorted(CLASS_HEADS))
        check_option("calibration", self.calibration, CALIBRATIONS)
        if self.calibration is not None and not settings.early_stopping:
            raise ValueError(
                "calibration='temperature' needs validation rows; use Training(early_stopping="
                "True), or calibrate with sklearn.calibration.CalibratedClassifierCV."
            )
        return settings

    def _check_target(self, y, *, first):
        y = column_or_1d(y, warn=True)
        refuse_missing(y)
        if y.dtype.kind == "f":
            assert_all_finite(y, input_name="y")
        check_classification_targets(y)
        if first:
            given = self._given_classes
            self.classes_ = np.unique(y) if given is None else given
        elif self._given_classes is not None and not np.array_equal(
            self._given_classes, self.classes_
        ):
            raise ValueError(f"classes differ from those of the first call, {self.classes_}.")
        return self._codes_of(y)

    def _codes_of(self, y) -> np.ndarray:
        """The places of labels among the classes."""
        unknown = np.setdiff1d(y, self.classes_)
        if len(unknown):
            raise ValueError(
                f"y holds classes {unknown.tolist()} that the model does not have, beside "
                f"{self.classes_.tolist()}; partial_fit takes all of them as classes= in its "
                "first call."
            )
        return np.searchsorted(self.classes_, y).astype(np.int64)

    def _fit_target(self, target, weight):
        self.temperature_ = 1.0

    def _coded(self, target):
        return target

    def _make_head(self):
        return CLASS_HEADS[self.head](len(self.classes_))

    def _finish(self, objective: TabularObjective):
        """The temperature of least log loss on the validation rows."""
        if self.calibration is None:
            return
        assert objective.held_out is not None
        with torch.no_grad():
            found = [
                self.module_.answer(passed)["log_proba"].double().cpu()
                for passed, _ in passes(self.module_, objective.held_out, CLOCK, self._seed)
            ]
        log_proba = torch.cat(found).numpy()
        target = objective.held_out.target.cpu().numpy()
        weight = objective.held_out.weight.double().cpu().numpy()
        self.temperature_ = best_temperature(log_proba, target, weight)

    # --- predictions --------------------------------------------------------------------------

    def predict_log_proba(self, X):
        """Log-probabilities of the classes, shape (n, n_classes)."""
        return log_softmax(self._answers(X)["log_proba"] / self.temperature_, axis=1)

    def predict_proba(self, X):
        """Probabilities of the classes, shape (n, n_classes)."""
        return np.exp(self.predict_log_proba(X))

    def log_prob(self, X, y):
        """Log-probability of the given class of each row, shape (n,)."""
        log_proba = self.predict_log_proba(X)
        column = self._codes_of(column_or_1d(y, warn=True))
        check_consistent_length(log_proba, column)
        return log_proba[np.arange(len(column)), column]

    def predict(self, X):
        """Most probable classes, shape (n,)."""
        best = self.predict_log_proba(X).argmax(axis=1)
        return self.classes_[best]

    # --- readings of the experts --------------------------------------------------------------

    def _plain_predictions(self, X):
        return self.predict_proba(X)

    def _reading_names(self, m):
        return [f"probability of {label}" for label in self.classes_]

    def _reading_loss(self, predictions, y):
        own = predictions[np.arange(len(y)), np.searchsorted(self.classes_, y)]
        return float(-np.mean(np.log(np.maximum(own, np.finfo(float).tiny))))


def best_temperature(log_proba, target, weight) -> float:
    """Temperature in [1/20, 20] of least weighted log loss."""

    def loss(log_temperature):
        scaled = log_proba / np.exp(log_temperature)
        own = scaled[np.arange(len(target)), target] - logsumexp(scaled, axis=1)
        return -weight @ own

    bound = float(np.log(20.0))
    return float(np.exp(minimize_scalar(loss, bounds=(-bound, bound), method="bounded").x))
