"""Several targets by shared experts: missing targets, new tasks, files."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from mixexp.neural import MultiTaskMoEClassifier, MultiTaskMoERegressor, TopKRouter, Training
from tests.sklearn_checks import checks_of

from .test_sklearn_checks import FAST, FEW, WHOLE

SHORT = Training(3, batch_size=32)
LONG = Training(25, batch_size=50, learning_rate=0.02)


def problem(n=300, seed=0):
    X = np.random.default_rng(seed).standard_normal((n, 4))
    Y = np.c_[X[:, 0] * X[:, 1], X[:, 0] - X[:, 2], np.where(X[:, 3] > 0, X[:, 0], X[:, 1])]
    return X, Y


@checks_of([MultiTaskMoERegressor(**FEW), MultiTaskMoEClassifier(**FEW)], FAST[:6])
def test_scikit_learn_check(estimator, check) -> None:
    check(estimator)


@pytest.mark.slow
@checks_of([MultiTaskMoERegressor(**WHOLE), MultiTaskMoEClassifier(**WHOLE)])
def test_every_scikit_learn_check(estimator, check) -> None:
    check(estimator)


def test_targets_are_found_where_some_are_missing() -> None:
    X, Y = problem()
    seen = Y.copy()
    seen[::3, 1] = np.nan
    model = MultiTaskMoERegressor(4, training=LONG).fit(X, seen)
    assert all(np.corrcoef(model.predict(X).T, Y.T)[t, 3 + t] > 0.85 for t in range(3))
    assert model.gate_proba(X).shape == (300, 3, 4)


def test_the_loss_of_a_task_is_the_mean_over_its_known_targets() -> None:
    X, Y = problem(60)
    seen = Y[:, :2].copy()
    seen[40:, 1] = np.nan
    still = Training(1, batch_size=None, early_stopping=False, learning_rate=1e-12)
    model = MultiTaskMoERegressor(2, router=TopKRouter, training=still, dtype="float64")
    model.fit(X, seen)
    spread = np.nanstd(seen, axis=0)
    by_task = np.nanmean(((model.predict(X) - seen) / spread) ** 2, axis=0)
    assert model.loss_curve_[0] == pytest.approx(by_task.mean(), rel=1e-6)
    with pytest.raises(ValueError, match="task 1 has no known target"):
        model.fit(X, np.c_[Y[:, 0], np.full(60, np.nan)])


@pytest.mark.slow
@pytest.mark.parametrize("like", [None, 1])
def test_a_new_task_changes_no_bit_of_the_others(like) -> None:
    X, Y = problem()
    model = MultiTaskMoERegressor(4, training=LONG).fit(X, Y)
    before, gates = model.predict(X), model.gate_proba(X)
    model.add_task(X, Y[:, 0] - 2 * Y[:, 1], like=like)
    after = model.predict(X)
    assert_array_equal(after[:, :3], before)
    assert_array_equal(model.gate_proba(X)[:, :3], gates)
    assert np.corrcoef(after[:, 3], Y[:, 0] - 2 * Y[:, 1])[0, 1] > 0.9
    assert all(parameter.requires_grad for parameter in model.module_.parameters())


def test_a_new_task_may_begin_with_another_gate() -> None:
    X, Y = problem()
    none = Training(1, learning_rate=1e-12, weight_decay=0.0)
    model = MultiTaskMoERegressor(4, training=SHORT).fit(X, Y).set_params(training=none)
    gates = model.add_task(X, Y[:, 0], like=1).gate_proba(X)
    np.testing.assert_allclose(gates[:, 3], gates[:, 1], atol=1e-6)
    with pytest.raises(ValueError, match="like must be a task from 0 to 3"):
        model.add_task(X, Y[:, 0], like=4)


def labels():
    X, Y = problem()
    known = np.empty((300, 2), dtype=object)
    known[:, 0] = np.where(Y[:, 1] > 0, "up", "down")
    known[:, 1] = (Y[:, 2] > 0).astype(int)
    known[::5, 1] = None
    return X, known


def test_a_task_that_is_not_learned_to_the_end_leaves_the_model_as_it_was() -> None:
    X, Y = problem(60)
    model = MultiTaskMoERegressor(3, training=SHORT).fit(X, Y)
    before = model.predict(X)

    def stop(progress):
        raise InterruptedError

    with pytest.raises(InterruptedError):
        model.set_params(training=Training(2, callback=stop)).add_task(X, Y[:, 0])
    assert_array_equal(model.predict(X), before)
    assert model.set_params(training=SHORT).add_task(X, Y[:, 0]).predict(X).shape == (60, 4)


def test_classes_of_every_task_are_found() -> None:
    X, known = labels()
    model = MultiTaskMoEClassifier(4, training=LONG).fit(X, known)
    assert model.score(X, known) > 0.9
    assert [list(classes) for classes in model.classes_] == [["down", "up"], [0, 1]]
    proba = model.predict_proba(X)
    model.add_task(X, np.sign(X[:, 0]).astype(int))
    assert all(np.array_equal(a, b) for a, b in zip(proba, model.predict_proba(X), strict=False))
    assert np.mean(model.predict(X)[:, 2] == np.sign(X[:, 0])) > 0.9


@pytest.mark.parametrize(
    ("labels", "text"), [([0.0, 1, np.inf], "infinity"), ([0.0, 1, np.nan], "NaN")]
)
def test_labels_of_one_axis_are_all_finite(labels, text) -> None:
    with pytest.raises(ValueError, match=f"y contains {text}"):
        MultiTaskMoEClassifier().fit(np.arange(6.0).reshape(3, 2), labels)


def test_loaded_models_predict_bit_for_bit(tmp_path) -> None:
    X, Y = problem()
    numbers = MultiTaskMoERegressor(3, training=SHORT).fit(X, Y).add_task(X, Y[:, 0])
    X, known = labels()
    classes = MultiTaskMoEClassifier(3, training=SHORT).fit(X, known)
    for model in (numbers, classes):
        model.save(tmp_path / "model.mixexp")
        copy = type(model).load(tmp_path / "model.mixexp")
        assert_array_equal(copy.predict(X), model.predict(X))


def test_partial_fit_takes_the_classes_of_every_task() -> None:
    X, known = labels()
    first = known[:, 0] == "up"
    model = MultiTaskMoEClassifier(2, training=SHORT)
    model.partial_fit(X[first], known[first], classes=[["down", "up"], [0, 1]])
    model.partial_fit(X, known)
    assert len(model.loss_curve_) == 2
    with pytest.raises(ValueError, match="classes are of 1 tasks; y has 2"):
        MultiTaskMoEClassifier(2).partial_fit(X, known, classes=[["down", "up"]])
