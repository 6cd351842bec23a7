"""`SourceMoERegressor` and `SourceMoEClassifier`: one expert a named block of columns."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from scipy.special import logsumexp
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin, clone, is_classifier
from sklearn.model_selection import KFold
from sklearn.pipeline import Pipeline
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_consistent_length, check_is_fitted, column_or_1d

from ..._validation import check_columns, check_weight, refuse_missing
from ._parts import aligned, default_classifier, default_regressor, rows_of

LEAST_SHARE = 1e-3  # weight of a row for an expert, so that each expert can always be fitted
TOL = 1e-4  # mean change of the responsibilities at which the rounds end


class BaseSourceMoE(BaseEstimator):
    """Experts of named blocks of columns, mixed by a gate; see the concrete estimators."""

    def __init__(self, sources, expert=None, gate=None, *, gate_source=None, max_rounds=20, cv=5):
        self.sources = sources
        self.expert = expert
        self.gate = gate
        self.gate_source = gate_source
        self.max_rounds = max_rounds
        self.cv = cv

    def fit(self, X, y, sample_weight=None):
        """Fit experts and gate in turn, from equal shares.

        Parameters
        ----------
        X : array-like or data frame of shape (n, p)
        y : array-like of shape (n,)
        sample_weight : array-like of shape (n,), optional
        """
        self._check_parts()
        y = self._check_y(column_or_1d(y, warn=True))
        check_consistent_length(X, y)
        self._set_blocks(X)
        weight = check_weight(sample_weight, y[:, None])
        weight = np.ones(len(y)) if weight is None else weight
        names = self.source_names_
        self.experts_ = {name: self._expert_of(name) for name in names}
        self.gate_ = self._default_gate() if self.gate is None else clone(self.gate)
        resp = np.full((len(y), len(names)), 1 / len(names))
        self.n_rounds_ = 0
        while self.n_rounds_ < self.max_rounds:
            self.n_rounds_ += 1
            log_fit = self._fit_experts(X, y, weight, resp)
            self._fit_gate(X, weight, resp)
            log_gate = np.log(np.maximum(self.gate_proba(X), np.finfo(float).tiny))
            joint = log_gate + log_fit
            new = np.exp(joint - logsumexp(joint, axis=1, keepdims=True))
            change = np.average(np.abs(new - resp).sum(axis=1), weights=weight)
            resp = new
            if change < TOL:
                break
        return self

    def _check_parts(self) -> None:
        """Refuse settings that would fail only after experts have been fitted."""
        if self.max_rounds < 1:
            raise ValueError(f"max_rounds must be at least 1; got {self.max_rounds!r}.")
        if self.gate is not None and not hasattr(self.gate, "predict_proba"):
            raise TypeError(
                "gate must be a classifier with predict_proba, such as LogisticRegression(); got "
                f"{self.gate!r}."
            )
        experts = self.expert.values() if isinstance(self.expert, dict) else [self.expert]
        for expert in experts:
            if expert is None:
                continue
            if isinstance(expert, type) or not hasattr(expert, "fit"):
                raise TypeError(f"expert must be an estimator, such as Ridge(); got {expert!r}.")
            if is_classifier(expert) != is_classifier(self):
                kind = "classifier" if is_classifier(self) else "regressor"
                raise TypeError(f"{type(self).__name__} needs a {kind} as expert; got {expert!r}.")

    def _set_blocks(self, X) -> None:
        """Positions of the columns of each source."""
        if not isinstance(self.sources, dict) or not self.sources:
            raise ValueError(
                "sources must be a dict of names to columns, such as {'news': ['a', 'b'], "
                f"'prices': [2, 3]}}; got {self.sources!r}."
            )
        columns = list(X.columns) if isinstance(X, pd.DataFrame) else None
        p = np.shape(X)[1]
        self.n_features_in_ = p
        if columns is not None:
            self.feature_names_in_ = np.array(columns, dtype=object)
        self.source_names_ = list(self.sources)
        self._blocks = {
            name: check_columns(own, columns, p, f"source {name!r}")
            for name, own in self.sources.items()
        }
        empty = [name for name, own in self._blocks.items() if not len(own)]
        if empty:
            raise ValueError(f"the sources {empty} have no columns: leave them out.")
        if self.gate_source is not None and self.gate_source not in self._blocks:
            raise ValueError(
                f"gate_source must be one of {self.source_names_}; got {self.gate_source!r}."
            )

    def _block(self, X, name):
        """The columns of a source; None for what the gate sees."""
        if np.shape(X)[1] != self.n_features_in_:
            raise ValueError(f"X has {np.shape(X)[1]} columns; the fit had {self.n_features_in_}.")
        if isinstance(X, pd.DataFrame) and hasattr(self, "feature_names_in_"):
            X = X[list(self.feature_names_in_)]
        if name is None:
            return X
        own = self._blocks[name]
        return X.iloc[:, own] if isinstance(X, pd.DataFrame) else np.asarray(X)[:, own]

    def _expert_of(self, name):
        """An unfitted expert of a source."""
        given = self.expert
        if isinstance(given, dict):
            missing = set(self.source_names_) - set(given)
            if missing:
                raise ValueError(f"expert= has no entry for the sources {sorted(missing)}.")
            given = given[name]
        return self._default_expert() if given is None else clone(given)

    def _fit_experts(self, X, y, weight, resp) -> np.ndarray:
        """Fit all experts to their shares; (n, S) log-likelihoods of rows left out of the fit."""
        out = np.empty(resp.shape)
        for s, name in enumerate(self.source_names_):
            own = self._block(X, name)
            share = weight * np.maximum(resp[:, s], LEAST_SHARE)
            answers = self._left_out(self.experts_[name], own, y, share)
            out[:, s] = self._log_fit(answers, y, share)
            _fit(self.experts_[name], own, y, share)
        return out

    def _left_out(self, expert, own, y, share) -> np.ndarray:
        """Answers of the expert for rows that it was not fitted to; cv=None takes its fit."""
        if self.cv is None:
            return self._answer(_fit(clone(expert), own, y, share), own)
        out: Any = None
        folds = KFold(self.cv, shuffle=True, random_state=0)
        for train, test in folds.split(np.zeros(len(y))):
            model = _fit(clone(expert), rows_of(own, train), y[train], share[train])
            part = self._answer(model, rows_of(own, test))
            out = np.empty((len(y), *part.shape[1:])) if out is None else out
            out[test] = part
        return out

    def _fit_gate(self, X, weight, resp) -> None:
        """The gate to soft labels: every row once for each source, weighted by its share."""
        n, S = resp.shape
        seen = self._block(X, self.gate_source)
        if S == 1:
            return
        repeated = rows_of(seen, np.tile(np.arange(n), S))
        labels = np.repeat(np.arange(S), n)
        _fit(self.gate_, repeated, labels, (weight[:, None] * resp).T.ravel())

    def _default_gate(self):
        return default_classifier()

    def gate_proba(self, X) -> np.ndarray:
        """Weights of the sources, shape (n, n_sources), in the order of ``source_names_``."""
        seen = self._block(X, self.gate_source)
        if len(self.source_names_) == 1:
            return np.ones((len(seen), 1))
        return self.gate_.predict_proba(seen)

    def predict_experts(self, X) -> np.ndarray:
        """Answers of every source's expert: (n, n_sources), with classes (n, n_sources, m)."""
        check_is_fitted(self)
        answers = [
            self._answer(self.experts_[name], self._block(X, name)) for name in self.source_names_
        ]
        return np.stack(answers, axis=1)

    def contributions(self, X) -> np.ndarray:
        """What each source adds to the prediction: its weight times its expert's answer."""
        experts = self.predict_experts(X)
        gate = self.gate_proba(X)
        return gate.reshape(*gate.shape, *[1] * (experts.ndim - 2)) * experts

    def _check_y(self, y) -> np.ndarray:
        raise NotImplementedError

    def _default_expert(self):
        raise NotImplementedError

    def _answer(self, model, own) -> np.ndarray:
        raise NotImplementedError

    def _log_fit(self, answers, y, share) -> np.ndarray:
        raise NotImplementedError


class SourceMoERegressor(RegressorMixin, BaseSourceMoE):
    """Regression with one expert a source, each of which sees its own columns alone.

    ``y = sum_s w_s(x) f_s(x_s)``. Experts and gate are fitted in turn (generalised EM): a row
    counts for an expert by the gate's weight times the likelihood of its residual, where the
    expert was not fitted to the row; the gate is fitted to these shares.

    Parameters
    ----------
    sources : dict of str to columns
        Names, positions, a slice or a mask for each source.
    expert : regressor, dict of them by source, or None
        Any that takes ``sample_weight``; ridge regression of standardised columns by default.
    gate : classifier, optional
        With ``predict_proba`` and ``sample_weight``; logistic by default.
    gate_source : str, optional
        The source that the gate sees; all columns by default.
    max_rounds : int
        Rounds of experts and gate at most.
    cv : int or None
        Folds for likelihoods of rows outside the fit; None takes those of the fit itself, which
        suits experts with few parameters alone.

    Attributes
    ----------
    experts_ : dict of str to regressor
    gate_ : classifier
    source_names_ : list of str
    n_rounds_ : int

    References
    ----------
    Ding et al., "TradExpert: revolutionizing trading with mixture of expert LLMs", 2024, for one
    expert a source and the ranking mode; Jordan and Jacobs, "Hierarchical mixtures of experts and
    the EM algorithm", 1994, for the rounds.

    Examples
    --------
    >>> import numpy as np
    >>> from mixexp.neural import SourceMoERegressor
    >>> rng = np.random.default_rng(0)
    >>> X = rng.standard_normal((200, 3))
    >>> y = np.where(X[:, 2] > 0, X[:, 0], -X[:, 1])
    >>> model = SourceMoERegressor({"a": [0], "b": [1]}).fit(X, y)
    >>> model.contributions(X).shape
    (200, 2)
    """

    def _check_y(self, y):
        y = np.asarray(y, dtype=np.float64)
        if not np.isfinite(y).all():
            raise ValueError("y contains NaN or infinity. Leave these rows out.")
        return y

    def _default_expert(self):
        return default_regressor()

    def _answer(self, model, own):
        return np.asarray(model.predict(own), dtype=np.float64)

    def _log_fit(self, answers, y, share):
        square = (y - answers) ** 2
        # from below by a thousandth of the target's deviation, as elsewhere in the package
        variance = max(np.average(square, weights=share), 1e-6 * np.var(y), np.finfo(float).tiny)
        return -0.5 * (square / variance + np.log(variance))

    def predict(self, X):
        """(n,) conditional means."""
        return self.contributions(X).sum(axis=1)

    def rank(self, X) -> np.ndarray:
        """Positions of the rows by predicted value, the largest first; ties by position."""
        return np.argsort(-self.predict(X), kind="stable")


class SourceMoEClassifier(ClassifierMixin, BaseSourceMoE):
    """Classification with one expert a source, each of which sees its own columns alone.

    ``p(y | x) = sum_s w_s(x) p_s(y | x_s)``, fitted as `SourceMoERegressor`.

    Parameters
    ----------
    sources : dict of str to columns
        Names, positions, a slice or a mask for each source.
    expert : classifier, dict of them by source, or None
        With ``predict_proba`` and ``sample_weight``; logistic regression by default.
    gate : classifier, optional
        With ``predict_proba`` and ``sample_weight``; logistic by default.
    gate_source : str, optional
        The source that the gate sees; all columns by default.
    max_rounds : int
    cv : int or None
        As in `SourceMoERegressor`.

    Attributes
    ----------
    classes_ : ndarray
    experts_ : dict of str to classifier
    gate_ : classifier
    source_names_ : list of str
    n_rounds_ : int

    References
    ----------
    As `SourceMoERegressor`.
    """

    def _check_y(self, y):
        refuse_missing(y)
        check_classification_targets(y)
        self.classes_ = np.unique(y)
        return np.asarray(y)

    def _default_expert(self):
        return default_classifier()

    def _answer(self, model, own):
        return aligned(np.asarray(model.predict_proba(own)), model, self.classes_)

    def _log_fit(self, answers, y, share):
        own = answers[np.arange(len(y)), np.searchsorted(self.classes_, y)]
        return np.log(np.maximum(own, 1e-12))

    def predict_proba(self, X):
        """(n, n_classes) class probabilities."""
        return self.contributions(X).sum(axis=1)

    def predict(self, X):
        """(n,) most probable classes."""
        best = self.predict_proba(X).argmax(axis=1)
        return self.classes_[best]


def _fit(model, X, y, weight):
    """Fit with weights, also through a pipeline, whose last step takes them."""
    name = "sample_weight"
    if isinstance(model, Pipeline):
        name = f"{model.steps[-1][0]}__sample_weight"
    try:
        return model.fit(X, y, **{name: weight})
    except TypeError as error:
        if "sample_weight" not in str(error):
            raise
        raise TypeError(
            f"{type(model).__name__} takes no sample_weight, which experts and gates of sources "
            "need. Use another estimator."
        ) from error
