"""`LocalExpertRegressor` and `LocalExpertClassifier`: a fitted estimator, corrected where asked."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin, clone, is_classifier
from sklearn.model_selection import cross_val_predict
from sklearn.utils.validation import check_consistent_length, check_is_fitted, column_or_1d

from ..._validation import refuse_missing
from ._parts import aligned, default_classifier, default_regressor, rows_of


class BaseLocalExpert(BaseEstimator):
    """A frozen estimator, a local expert, and a gate that says whose row it is."""

    def __init__(self, base, expert=None, gate=None, *, threshold=0.5, cv=5):
        self.base = base
        self.expert = expert
        self.gate = gate
        self.threshold = threshold
        self.cv = cv

    def fit(self, X, y, local=None):
        """Fit the local expert and the gate; the base is left as it is.

        Parameters
        ----------
        X : array-like or data frame of shape (n, p)
            As the base takes it.
        y : array-like of shape (n,)
        local : array-like of bool of shape (n,), optional
            The rows that belong to the local expert: it is fitted to them alone, and the gate
            tells them from the others. Without it the expert is fitted to all rows, and the gate
            learns where its predictions of rows that it was not fitted to are nearer than those
            of the base.

        Raises
        ------
        ValueError
            For a base that is not fitted, or ``local`` rows that are all or none.
        """
        try:
            check_is_fitted(self.base)
        except Exception as error:
            raise ValueError(
                f"{type(self).__name__} needs a fitted base. Searches and clones lose the fit: "
                "wrap the base as sklearn.frozen.FrozenEstimator(base)."
            ) from error
        if is_classifier(self.base) != is_classifier(self):
            kind = "classifier" if is_classifier(self) else "regressor"
            raise TypeError(f"{type(self).__name__} needs a {kind} as base; got {self.base!r}.")
        if not 0 < self.threshold < 1:
            raise ValueError(f"threshold must lie strictly between 0 and 1; got {self.threshold}.")
        y = column_or_1d(y, warn=True)
        refuse_missing(y)
        check_consistent_length(X, y)
        self._set_classes(y)
        expert = clone(self._default_expert() if self.expert is None else self.expert)
        if local is None:
            mine = self._where_nearer(expert, X, y)
            rows = np.ones(len(y), dtype=bool)
        else:
            mine = rows = _mask(local, len(y))
        self.expert_ = expert.fit(rows_of(X, np.flatnonzero(rows)), y[rows])
        self.gate_ = self._fit_gate(X, mine)
        self.n_local_ = int(mine.sum())
        return self

    def _fit_gate(self, X, mine: np.ndarray):
        """The gate, or the one answer where the rows have only one owner."""
        if mine.all() or not mine.any():
            return bool(mine.all())
        gate = self.gate
        if gate is None:
            gate = default_classifier()
        return clone(gate).fit(X, mine.astype(int))

    def gate_proba(self, X) -> np.ndarray:
        """Probabilities that rows belong to the base and to the local expert, shape (n, 2)."""
        check_is_fitted(self)
        n = len(X)
        if isinstance(self.gate_, bool):
            own = np.full(n, float(self.gate_))
        else:
            proba = np.asarray(self.gate_.predict_proba(X))
            own = proba[:, np.flatnonzero(np.asarray(self.gate_.classes_) == 1)].sum(axis=1)
        return np.stack([1 - own, own], axis=1)

    def is_local(self, X) -> np.ndarray:
        """(n,) whether a row is answered by the local expert."""
        return self.gate_proba(X)[:, 1] > self.threshold

    def _composed(self, X, name: str, as_own=lambda values, model: np.asarray(values)):
        """The answers of a method, of the base or of the local expert row by row."""
        local = self.is_local(X)
        out = as_own(getattr(self.base, name)(X), self.base)
        if local.any():
            own = getattr(self.expert_, name)(rows_of(X, np.flatnonzero(local)))
            own = as_own(own, self.expert_)
            out = np.array(out, dtype=np.result_type(out, own))
            out[local] = own
        return out

    def predict(self, X):
        """Predictions of the local expert for rows that the gate gives it, of the base else."""
        return self._composed(X, "predict")

    def _set_classes(self, y) -> None:
        """Fix the classes, where there are any."""

    def _default_expert(self) -> Any:
        raise NotImplementedError

    def _where_nearer(self, expert, X, y) -> np.ndarray:
        """Mask of the rows that the expert, not fitted to them, predicts better than the base."""
        raise NotImplementedError


class LocalExpertRegressor(RegressorMixin, BaseLocalExpert):
    """A fitted regressor with a local expert beside it, and a gate that chooses between them.

    ``f(x) = expert(x) if gate(x) > threshold else base(x)``: a hard mixture of two experts of
    which one is frozen. The base is not changed in any bit.

    Parameters
    ----------
    base : fitted regressor
        `sklearn.frozen.FrozenEstimator` keeps it fitted through clones and searches.
    expert : regressor, optional
        Ridge regression of standardised columns by default.
    gate : classifier, optional
        With ``predict_proba``, of the classes 0 (base) and 1 (local); logistic by default.
    threshold : float
        Probability above which a row is local.
    cv : int or splitter
        Folds by which expert and base are compared where no ``local`` rows are given to `fit`.

    Attributes
    ----------
    expert_ : regressor
    gate_ : classifier, or bool where all rows had one owner
    n_local_ : int
        Rows of the fit that are the expert's.

    References
    ----------
    "A mixture of expert approach for low-cost customization of deep neural networks", 2018: global
    expert, local expert and gating network.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.linear_model import LinearRegression
    >>> from mixexp.neural import LocalExpertRegressor
    >>> X = np.linspace(-1, 1, 40)[:, None]
    >>> base = LinearRegression().fit(X, X[:, 0])
    >>> model = LocalExpertRegressor(base).fit(X, np.abs(X[:, 0]), local=X[:, 0] < 0)
    >>> bool(model.predict([[-1.0]])[0] > 0.5)
    True
    """

    def _default_expert(self):
        return default_regressor()

    def _where_nearer(self, expert, X, y):
        own = cross_val_predict(expert, X, y, cv=self.cv)
        return np.abs(own - y) < np.abs(np.asarray(self.base.predict(X)) - y)


class LocalExpertClassifier(ClassifierMixin, BaseLocalExpert):
    """A fitted classifier with a local expert beside it, and a gate that chooses between them.

    ``f(x) = expert(x) if gate(x) > threshold else base(x)``. The local expert may know classes
    that the base does not.

    Parameters
    ----------
    base : fitted classifier
        `sklearn.frozen.FrozenEstimator` keeps it fitted through clones and searches.
    expert : classifier, optional
        Logistic regression of standardised columns by default.
    gate : classifier, optional
        With ``predict_proba``, of the classes 0 (base) and 1 (local); logistic by default.
    threshold : float
        Probability above which a row is local.
    cv : int or splitter
        Folds by which expert and base are compared where no ``local`` rows are given to `fit`.

    Attributes
    ----------
    classes_ : ndarray
        Those of the base and those of the target.
    expert_ : classifier
    gate_ : classifier, or bool where all rows had one owner
    n_local_ : int
        Rows of the fit that are the expert's.

    References
    ----------
    As `LocalExpertRegressor`.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.datasets import load_iris
    >>> from sklearn.linear_model import LogisticRegression
    >>> from mixexp.neural import LocalExpertClassifier
    >>> X, y = load_iris(return_X_y=True)
    >>> base = LogisticRegression(max_iter=1000).fit(X[:100], y[:100])
    >>> model = LocalExpertClassifier(base).fit(X, y, local=y > 0)
    >>> model.predict_proba(X).shape
    (150, 3)
    """

    def _set_classes(self, y):
        self.classes_ = np.unique(np.concatenate([np.asarray(self.base.classes_), np.unique(y)]))

    def _default_expert(self):
        return default_classifier()

    def _where_nearer(self, expert, X, y):
        own = np.asarray(cross_val_predict(expert, X, y, cv=self.cv))
        return (own == y) & (np.asarray(self.base.predict(X)) != y)

    def predict_proba(self, X):
        """Class probabilities of the local expert or of the base, shape (n, n_classes)."""
        return self._composed(
            X, "predict_proba", lambda proba, model: aligned(proba, model, self.classes_)
        )


def _mask(local, n: int) -> np.ndarray:
    mask = np.asarray(local)
    if mask.shape != (n,) or mask.dtype != bool:
        raise ValueError(
            f"local must be a boolean array with one entry for each of the {n} rows; got "
            f"{mask.dtype} of shape {mask.shape}."
        )
    if mask.all() or not mask.any():
        raise ValueError(
            f"local marks {int(mask.sum())} of {n} rows. The gate learns from both kinds: give "
            "rows that the base is to answer too."
        )
    return mask
