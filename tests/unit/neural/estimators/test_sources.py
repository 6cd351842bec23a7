"""One expert a source: the informative source is found, and sees nothing else."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy.stats import kendalltau
from sklearn.linear_model import LinearRegression, LogisticRegression, Ridge
from sklearn.neighbors import KNeighborsRegressor

from mixexp.neural import SourceMoEClassifier, SourceMoERegressor

SOURCES = {name: [f"{name}{i}" for i in range(3)] for name in ("a", "b", "c")}


@pytest.fixture(scope="module")
def regimes():
    """Which block carries the signal depends on an observed regime."""
    rng = np.random.default_rng(0)
    n = 600
    X = rng.standard_normal((n, 9))
    regime = rng.integers(0, 3, n)
    signals = np.einsum("nkj,kj->nk", X.reshape(n, 3, 3), rng.standard_normal((3, 3)))
    frame = pd.DataFrame(X, columns=[*SOURCES["a"], *SOURCES["b"], *SOURCES["c"]])
    for k in range(3):
        frame[f"regime{k}"] = (regime == k).astype(float)
    mean = signals[np.arange(n), regime]
    return frame, mean + 0.3 * rng.standard_normal(n), mean, regime


@pytest.fixture(scope="module")
def model(regimes):
    X, y, *_ = regimes
    return SourceMoERegressor(SOURCES, gate_source=None, cv=3).fit(X[:400], y[:400])


def test_the_gate_finds_the_informative_source(model, regimes) -> None:
    X, _, mean, regime = regimes
    gate = model.gate_proba(X[400:])
    assert_allclose(gate.sum(axis=1), 1)
    assert gate[np.arange(200), regime[400:]].mean() > 0.8
    error = np.mean((model.predict(X[400:]) - mean[400:]) ** 2)
    one = LinearRegression().fit(X[:400], regimes[1][:400]).predict(X[400:])
    assert error < 0.1 * np.mean((one - mean[400:]) ** 2)


def test_ranks_are_those_of_the_predictions(model, regimes) -> None:
    X, _, mean, _ = regimes
    order = model.rank(X[400:])
    assert_array_equal(order, np.argsort(-model.predict(X[400:]), kind="stable"))
    place = np.empty(200)
    place[order] = np.arange(200)
    assert kendalltau(-place, mean[400:])[0] > 0.5


def test_shuffling_a_source_changes_its_own_expert_alone(model, regimes) -> None:
    X = regimes[0][400:].reset_index(drop=True)
    moved = X.copy()
    moved[SOURCES["b"]] = moved[SOURCES["b"]].to_numpy()[::-1]
    before, after = model.predict_experts(X), model.predict_experts(moved)
    assert_array_equal(after[:, [0, 2]], before[:, [0, 2]])
    assert np.corrcoef(after[:, 1], before[:, 1])[0, 1] < 0.3
    assert_allclose(model.contributions(X).sum(axis=1), model.predict(X))


def test_weight_of_zero_leaves_rows_out(regimes) -> None:
    X, y, *_ = regimes
    weight = np.r_[np.ones(300), np.zeros(100)]
    wrong = np.r_[y[:300], np.full(100, 50.0)]
    with_zeros = SourceMoERegressor(SOURCES, cv=None).fit(X[:400], wrong, weight)
    assert abs(with_zeros.predict(X[400:]) - y[400:]).mean() < 1


@pytest.mark.slow
def test_classes(regimes) -> None:
    X, y, mean, _ = regimes
    label = np.where(y > 0, "up", "down")
    model = SourceMoEClassifier(SOURCES | {"regime": slice(9, 12)}, gate_source="regime", cv=3)
    model.fit(X[:400], label[:400])
    assert np.mean(model.predict(X[400:]) == np.where(mean[400:] > 0, "up", "down")) > 0.9
    assert_allclose(model.predict_proba(X).sum(axis=1), 1)


def test_one_source_is_its_expert(regimes) -> None:
    X, y, *_ = regimes
    model = SourceMoERegressor({"a": SOURCES["a"]}, LinearRegression(), cv=None).fit(X, y)
    own = LinearRegression().fit(X[SOURCES["a"]], y)
    assert_allclose(model.predict(X), own.predict(X[SOURCES["a"]]))


@pytest.mark.parametrize(
    ("settings", "error", "text"),
    [
        ({"sources": {}}, ValueError, "dict of names"),
        ({"sources": {"a": ["nowhere"]}}, ValueError, "source 'a': no column"),
        ({"sources": SOURCES, "gate_source": "d"}, ValueError, "gate_source"),
        ({"sources": SOURCES, "expert": {"a": LinearRegression()}}, ValueError, "'b', 'c'"),
        ({"sources": SOURCES, "expert": KNeighborsRegressor()}, TypeError, "sample_weight"),
    ],
)
def test_errors_are_named(settings, error, text, regimes) -> None:
    X, y, *_ = regimes
    with pytest.raises(error, match=text):
        SourceMoERegressor(**settings).fit(X, y)


@pytest.mark.parametrize(
    ("settings", "error", "text"),
    [
        ({"gate": Ridge()}, TypeError, "gate must be a classifier"),
        ({"expert": LogisticRegression()}, TypeError, "needs a regressor as expert"),
        ({"expert": {"a": Ridge, "b": Ridge()}}, TypeError, "expert must be an estimator"),
        ({"max_rounds": 0}, ValueError, "max_rounds must be at least 1"),
        ({"sources": {"a": [], "b": [1]}}, ValueError, r"\['a'\] have no columns"),
    ],
)
def test_wrong_parts_are_named_before_any_fit(settings, error, text) -> None:
    model = SourceMoERegressor(**{"sources": {"a": [0], "b": [1]}, **settings})
    with pytest.raises(error, match=text):
        model.fit(np.eye(4)[:, :2], np.arange(4.0))
