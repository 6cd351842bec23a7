"""A frozen estimator with a local expert: the base stays, the user's rows are answered better."""

from __future__ import annotations

import joblib
import numpy as np
import pytest
from numpy.testing import assert_array_equal
from sklearn.base import clone
from sklearn.datasets import load_digits
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LinearRegression, LogisticRegression

from mixexp.neural import LocalExpertClassifier, LocalExpertRegressor


def test_a_user_of_transposed_digits_gains_and_others_lose_nothing() -> None:
    X, y = load_digits(return_X_y=True)
    X = X / 16
    base = LogisticRegression(max_iter=2000).fit(X[:1200], y[:1200])
    before = joblib.hash(base)
    turned = X.reshape(-1, 8, 8).transpose(0, 2, 1).reshape(len(X), -1)
    own = np.random.default_rng(0).choice(1200, 60, replace=False)
    local = np.r_[np.zeros(600, dtype=bool), np.ones(60, dtype=bool)]
    model = LocalExpertClassifier(base)
    model.fit(np.r_[X[:600], turned[own]], np.r_[y[:600], y[own]], local=local)
    assert joblib.hash(base) == before
    assert model.score(turned[1200:], y[1200:]) > base.score(turned[1200:], y[1200:]) + 0.2
    assert model.score(X[1200:], y[1200:]) > base.score(X[1200:], y[1200:]) - 0.01


def line(n=80):
    X = np.linspace(-1, 1, n)[:, None]
    return X, np.abs(X[:, 0]), LinearRegression().fit(X, X[:, 0])


def test_answers_are_those_of_the_base_or_of_the_expert() -> None:
    X, y, base = line()
    model = LocalExpertRegressor(base).fit(X, y, local=X[:, 0] < 0)
    local = model.is_local(X)
    assert 0 < local.sum() < len(X)
    assert_array_equal(model.predict(X)[~local], base.predict(X)[~local])
    assert_array_equal(model.predict(X)[local], model.expert_.predict(X[local]))
    assert_array_equal(local, model.gate_proba(X)[:, 1] > 0.5)


def test_without_marked_rows_the_gate_learns_where_the_expert_is_nearer() -> None:
    X, y, base = line()
    y = np.where(X[:, 0] < 0, 3 - X[:, 0], y)
    expert = LinearRegression()
    model = LocalExpertRegressor(base, expert, cv=5).fit(X[::2], y[::2])
    error = np.abs(model.predict(X) - y).mean()
    assert error < np.abs(base.predict(X) - y).mean()
    perfect = LocalExpertRegressor(LinearRegression().fit(X, y)).fit(X, np.zeros(len(X)))
    assert perfect.gate_ is True


def test_classes_that_the_base_does_not_know() -> None:
    rng = np.random.default_rng(0)
    X = rng.standard_normal((300, 2)) + np.repeat([[0, 0], [4, 0], [0, 5]], 100, axis=0)
    y = np.repeat(["a", "b", "new"], 100)
    base = LogisticRegression().fit(X[:200], y[:200])
    model = LocalExpertClassifier(base, LogisticRegression()).fit(X, y, local=X[:, 1] > 2.5)
    proba = model.predict_proba(X)
    assert list(model.classes_) == ["a", "b", "new"] and proba.shape == (300, 3)
    assert np.mean(model.predict(X) == y) > 0.95
    assert_array_equal(model.classes_[proba.argmax(axis=1)], model.predict(X))


def test_a_base_that_is_not_fitted_is_named() -> None:
    X, y, base = line()
    with pytest.raises(ValueError, match="FrozenEstimator"):
        clone(LocalExpertRegressor(base)).fit(X, y)
    clone(LocalExpertRegressor(FrozenEstimator(base))).fit(X, y)


@pytest.mark.parametrize(
    ("local", "text"),
    [(np.ones(80, dtype=bool), "marks 80 of 80"), (np.ones(80), "boolean"), ([True], "boolean")],
)
def test_marks_that_teach_the_gate_nothing_are_refused(local, text) -> None:
    X, y, base = line()
    with pytest.raises(ValueError, match=text):
        LocalExpertRegressor(base).fit(X, y, local=local)


def test_a_base_of_the_other_kind_is_refused() -> None:
    X, y = np.arange(6.0)[:, None], np.array([0, 0, 0, 1, 1, 1])
    with pytest.raises(TypeError, match="needs a regressor as base"):
        LocalExpertRegressor(LogisticRegression().fit(X, y)).fit(X, y)
    with pytest.raises(TypeError, match="needs a classifier as base"):
        LocalExpertClassifier(LinearRegression().fit(X, y)).fit(X, y)
