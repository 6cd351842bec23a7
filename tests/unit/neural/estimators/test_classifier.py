"""`NeuralMoEClassifier`: probabilities, calibration, classes, files."""

from __future__ import annotations

import functools

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy.special import log_softmax
from sklearn.datasets import load_digits, load_iris

from mixexp.neural import NeuralMoEClassifier, TopKRouter, Training
from mixexp.neural.estimators.classifier import best_temperature

SHORT = Training(5, batch_size=32, learning_rate=0.01)


@pytest.fixture(scope="module")
def iris():
    X, y = load_iris(return_X_y=True)
    return X, np.array(["setosa", "versicolor", "virginica"])[y]


@pytest.mark.parametrize("head", ["logits", "mixture"])
def test_classes_are_found(head, iris) -> None:
    X, y = iris
    training = Training(40, batch_size=32, learning_rate=0.02)
    model = NeuralMoEClassifier(3, head=head, d_expert=8, training=training).fit(X, y)
    assert model.score(X, y) > 0.93
    proba = model.predict_proba(X)
    assert_allclose(proba.sum(axis=1), 1)
    assert_array_equal(model.predict(X), model.classes_[proba.argmax(axis=1)])


def test_probabilities_of_the_mixture_are_those_of_experts_weighted_by_the_gate(iris) -> None:
    X, y = iris
    router = functools.partial(TopKRouter, k=2)
    model = NeuralMoEClassifier(3, head="mixture", router=router, training=SHORT, dtype="float64")
    model.fit(X, y)
    mixed = np.einsum("ne,nec->nc", model.gate_proba(X), model.predict_experts(X))
    assert_allclose(model.predict_proba(X), mixed)


def test_the_best_temperature_is_that_of_the_labels() -> None:
    rng = np.random.default_rng(0)
    truth = log_softmax(2 * rng.standard_normal((20_000, 4)), axis=1)
    target = (np.exp(truth).cumsum(axis=1) > rng.uniform(size=(20_000, 1))).argmax(axis=1)
    for temperature in (0.5, 1.0, 3.0):
        found = best_temperature(temperature * truth, target, np.ones(20_000))
        assert found == pytest.approx(temperature, rel=0.03)


def test_calibration_changes_confidence_and_no_decision() -> None:
    X, y = load_digits(return_X_y=True)
    X, y = X[:500], y[:500]
    plain = NeuralMoEClassifier(2, d_expert=8, training=SHORT).fit(X, y)
    scaled = NeuralMoEClassifier(2, d_expert=8, training=SHORT, calibration="temperature").fit(X, y)
    assert plain.temperature_ == 1 != scaled.temperature_
    assert_array_equal(scaled.predict(X), plain.predict(X))
    assert_allclose(
        scaled.predict_log_proba(X),
        log_softmax(plain.predict_log_proba(X) / scaled.temperature_, axis=1),
    )


def test_calibration_needs_validation_rows(iris) -> None:
    model = NeuralMoEClassifier(calibration="temperature", training=Training(early_stopping=False))
    with pytest.raises(ValueError, match="validation rows"):
        model.fit(*iris)


def test_partial_fit_knows_all_classes_from_the_first_call(iris) -> None:
    X, y = iris
    model = NeuralMoEClassifier(2, training=SHORT)
    for _ in range(30):
        for part in (slice(0, 60), slice(60, 150)):
            model.partial_fit(X[part], y[part], classes=np.unique(y))
    assert model.score(X, y) > 0.9
    fresh = NeuralMoEClassifier(2, training=SHORT).partial_fit(X[:60], y[:60])
    with pytest.raises(ValueError, match=r"virginica.*classes="):
        fresh.partial_fit(X, y)


def test_a_loaded_model_predicts_bit_for_bit(iris, tmp_path) -> None:
    X, y = iris
    model = NeuralMoEClassifier(2, calibration="temperature", training=SHORT).fit(X, y)
    model.save(tmp_path / "model.mixexp")
    copy = NeuralMoEClassifier.load(tmp_path / "model.mixexp")
    assert_array_equal(copy.predict_proba(X), model.predict_proba(X))
    assert_array_equal(copy.predict(X), model.predict(X))


def test_explanation_has_a_probability_of_every_class(iris) -> None:
    X, y = iris
    model = NeuralMoEClassifier(2, training=SHORT).fit(X, y)
    table = model.explain_experts(X, y, n_repeats=1)
    own = table[[f"probability of {label}" for label in model.classes_]]
    assert_allclose(own[table["n_rows"] > 0].sum(axis=1), 1)


def test_log_prob_is_the_log_probability_of_the_given_class(iris, tmp_path) -> None:
    X, y = iris
    model = NeuralMoEClassifier(2, d_expert=4, training=SHORT).fit(X, y)
    own = model.predict_proba(X)[np.arange(len(y)), np.searchsorted(model.classes_, y)]
    assert_allclose(model.log_prob(X, y), np.log(own), rtol=1e-6)
    with pytest.raises(ValueError, match="classes .*'rose'.* does not have"):
        model.log_prob(X[:1], ["rose"])
    with pytest.raises(ValueError, match="inconsistent"):
        model.log_prob(X[:2], y[:3])
    model.save(tmp_path / "model.mixexp")
    copy = NeuralMoEClassifier.load(tmp_path / "model.mixexp")
    assert_array_equal(copy.log_prob(X, y), model.log_prob(X, y))
    with pytest.raises(ValueError, match="classes differ"):
        model.partial_fit(X, y, classes=["other", *model.classes_])
    assert_array_equal(copy.log_prob(X, y), model.log_prob(X, y))


def test_labels_that_are_missing_or_infinite_are_refused(iris) -> None:
    X = iris[0]
    for value, text in ((np.inf, "y contains infinity"), (np.nan, "y contains NaN")):
        y = np.zeros(len(X))
        y[3:9] = 1.0
        y[5] = value
        with pytest.raises(ValueError, match=text):
            NeuralMoEClassifier(2, training=SHORT).fit(X, y)
