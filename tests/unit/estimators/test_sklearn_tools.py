"""Inside scikit-learn's tools: pipelines, searches, inspection, frames, routing, callbacks."""

from __future__ import annotations

import pickle

import joblib
import matplotlib
import numpy as np
import pandas as pd
import polars as pl
import pytest
from numpy.testing import assert_allclose
from sklearn import config_context
from sklearn.base import clone
from sklearn.inspection import PartialDependenceDisplay, permutation_importance
from sklearn.metrics import log_loss
from sklearn.model_selection import GridSearchCV, cross_val_score, cross_validate
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.class_weight import compute_sample_weight

from mixexp import (
    EM,
    L1,
    L2,
    ConstantGate,
    GaussianExpert,
    LaplaceGate,
    MoEClassifier,
    MoERegressor,
    MultinomialExpert,
    MultiStart,
    SoftmaxGate,
)

FEW = MultiStart(n_starts=0.1, max_rounds=1)
QUICK = EM(gradient_tol=1e-4, tol=1e-9)


@pytest.fixture
def X():
    return np.random.default_rng(0).standard_normal((90, 2))


@pytest.fixture
def y(X):
    noise = np.random.default_rng(1).standard_normal(len(X))
    return np.where(X[:, 0] + noise > 0, 2 + X[:, 1], -2 - X[:, 1]) + 0.3 * noise


@pytest.fixture
def labels(y):
    return np.array(["low", "middle", "high"])[np.digitize(y, [-1, 1])]


def regressor(**settings):
    return MoERegressor(**{"start": FEW, "solver": QUICK, **settings})


def classifier(**settings):
    part = MultinomialExpert(penalty=L2(0.01))
    return MoEClassifier(**{"expert": part, "start": FEW, "solver": QUICK, **settings})


def test_a_pipeline_scores_as_its_last_step_does(X, y):
    pipeline = make_pipeline(StandardScaler(), regressor()).fit(X, y)
    assert_allclose(pipeline.score(X, y), regressor().fit(X, y).score(X, y), rtol=1e-5)


def test_a_grid_over_the_number_of_experts(X, y):
    search = GridSearchCV(regressor(), {"n_experts": [1, 2]}, cv=3).fit(X, y)
    assert search.best_estimator_.n_experts_ == search.best_params_["n_experts"]


def test_class_probabilities_never_exceed_one():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(400, 2)) * 6
    kind = np.where(X[:, 0] > 0, X[:, 1] > 0, X[:, 1] < 1) + 2 * (X[:, 0] > 3)
    found = MoEClassifier(3, start=kind % 3).fit(X, kind).predict_proba(X)
    assert found.max() <= 1.0
    log_loss(kind, found)


def test_a_grid_over_whole_parts(X, y):
    gates = [SoftmaxGate(penalty=L2(0.1)), ConstantGate()]
    search = GridSearchCV(regressor(), {"gate": gates}, cv=3).fit(X, y)
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()


def test_a_grid_over_nested_parameters(X, y):
    model = regressor(gate=SoftmaxGate(penalty=L2(0.1)))
    grid = {"gate__penalty__alpha": [1e-3, 10.0]}
    search = GridSearchCV(model, grid, cv=3).fit(X, y)
    assert search.best_estimator_.gate.penalty.alpha == search.best_params_["gate__penalty__alpha"]


def test_cross_validation(X, labels):
    assert np.mean(cross_val_score(classifier(), X, labels, cv=3)) > 0.5


def test_processes_give_the_scores_of_one_process(X, y):
    one, two = (cross_val_score(regressor(), X, y, cv=2, n_jobs=n_jobs) for n_jobs in (None, 2))
    assert np.array_equal(one, two)


def test_clone_is_unfitted_and_has_equal_parts(X, y):
    model = regressor(expert=GaussianExpert(penalty=L2(0.5))).fit(X, y)
    copy = clone(model)
    assert not copy.__sklearn_is_fitted__()
    assert copy.expert is not model.expert
    assert copy.expert.penalty.alpha == 0.5


@pytest.mark.parametrize("dump", [pickle.dumps, None], ids=["pickle", "joblib"])
def test_copies_predict_bit_for_bit(X, y, dump, tmp_path):
    model = regressor().fit(X, y)
    if dump is None:
        joblib.dump(model, tmp_path / "model")
        copy = joblib.load(tmp_path / "model")
    else:
        copy = pickle.loads(dump(model))
    assert np.array_equal(copy.predict(X), model.predict(X))


def test_partial_dependence_is_drawn(X, y):
    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    display = PartialDependenceDisplay.from_estimator(regressor().fit(X, y), X, [0, (0, 1)])
    assert np.isfinite(display.pd_results[0]["average"]).all()
    plt.close("all")


def test_permutation_importance_finds_the_columns_that_matter(X, y):
    more = np.column_stack([X, np.random.default_rng(5).standard_normal(len(X))])
    model = regressor().fit(more, y)
    importance = permutation_importance(model, more, y, n_repeats=3, random_state=0)
    assert importance.importances_mean[2] < importance.importances_mean[:2].min()


@pytest.mark.parametrize("frame", [pd.DataFrame, pl.DataFrame], ids=["pandas", "polars"])
def test_frames_give_names_and_the_fit_of_arrays(X, y, frame):
    named = frame({"a": X[:, 0], "b": X[:, 1]})
    model = regressor(gate_features=["a"], expert_features=["b"]).fit(named, y)
    by_position = regressor(gate_features=[0], expert_features=[1]).fit(X, y)
    assert list(model.feature_names_in_) == ["a", "b"]
    assert_allclose(model.predict(named), by_position.predict(X), rtol=1e-5, atol=1e-6)


def test_the_names_stand_in_the_summary(X, y):
    named = pd.DataFrame(X, columns=["alpha", "beta"])
    text = str(regressor().fit(named, y))
    assert "alpha" in text
    assert "beta" in text


@pytest.mark.parametrize("output", ["default", "pandas", "polars"])
def test_predictions_after_a_transformer_with_set_output(X, y, output):
    pipeline = make_pipeline(StandardScaler(), regressor()).set_output(transform=output)
    plain = make_pipeline(StandardScaler(), regressor())
    assert_allclose(pipeline.fit(X, y).predict(X), plain.fit(X, y).predict(X), rtol=1e-9)


def test_sample_weight_is_routed(X, y):
    weight = np.random.default_rng(2).uniform(0.1, 2, len(X))
    with config_context(enable_metadata_routing=True):
        model = (
            regressor().set_fit_request(sample_weight=True).set_score_request(sample_weight=True)
        )
        routed = cross_validate(model, X, y, cv=2, params={"sample_weight": weight})
        ignored = cross_validate(
            regressor().set_fit_request(sample_weight=False).set_score_request(sample_weight=False),
            X,
            y,
            cv=2,
            params={},
        )
    assert not np.allclose(routed["test_score"], ignored["test_score"])


def test_exposure_is_routed(X):
    counts = np.random.default_rng(3).poisson(3.0, len(X)).astype(float)
    with config_context(enable_metadata_routing=True):
        model = regressor(expert="poisson").set_fit_request(exposure=True)
        model = model.set_predict_request(exposure=True)
        pipeline = make_pipeline(StandardScaler(), model)
        pipeline.fit(X, counts, exposure=np.full(len(X), 2.0))
        twice = pipeline.predict(X, exposure=np.full(len(X), 2.0))
        once = pipeline.predict(X, exposure=np.ones(len(X)))
    assert_allclose(twice, 2 * once, rtol=1e-10)


def test_the_html_picture_names_the_estimator(X, y):
    assert "MoERegressor" in regressor().fit(X, y)._repr_html_()


def test_class_weight_is_a_sample_weight(X, labels):
    balanced = classifier(class_weight="balanced").fit(X, labels)
    weight = compute_sample_weight("balanced", labels)
    by_hand = classifier().fit(X, labels, sample_weight=weight)
    assert_allclose(balanced.predict_proba(X), by_hand.predict_proba(X), rtol=1e-9)


def test_warm_start_continues(X, y):
    model = regressor(warm_start=True, solver=EM()).fit(X, y)
    first = model.coef_.copy()
    model.fit(X, y)
    assert model.n_iter_ < 30
    assert_allclose(model.coef_, first, rtol=1e-4, atol=1e-6)


# --- callbacks of scikit-learn 1.9 ---------------------------------------------------------------

callbacks = pytest.importorskip("sklearn.callback", reason="callbacks came with scikit-learn 1.9")


class Recorder:
    """A callback that notes every task by its path of names."""

    def __init__(self, stop_after=None):
        self.begun, self.ended, self.n_pass = [], [], 0
        self.stop_after = stop_after

    def setup(self, estimator, context):
        pass

    def teardown(self, estimator, context):
        pass

    def on_fit_task_begin(self, estimator, context, **rest):
        self.begun.append(path_of(context))

    def on_fit_task_end(self, estimator, context, **rest):
        path = path_of(context)
        self.ended.append(path)
        self.n_pass += path[-1] == "pass"
        return self.stop_after is not None and self.n_pass >= self.stop_after


def path_of(context):
    path = []
    while context is not None:
        path.append(context.task_name)
        context = context.parent
    return tuple(reversed(path))


def test_tasks_are_a_tree_of_fit_start_and_pass(X, y):
    recorder = Recorder()
    model = regressor()
    model.set_callbacks(recorder)
    model.fit(X, y)
    assert set(recorder.begun) == {
        ("fit",),
        ("fit", "search"),
        ("fit", "start"),
        ("fit", "start", "pass"),
    }
    assert sorted(recorder.begun) == sorted(recorder.ended)
    assert recorder.n_pass == model.n_iter_


def test_a_callback_stops_a_fit(X, y):
    from mixexp import Status

    model = regressor(solver=EM(tol=0, gradient_tol=0))
    model.set_callbacks(Recorder(stop_after=3))
    model.fit(X, y)
    assert model.n_iter_ == 3
    assert model.status_ is Status.INTERRUPTED


def test_no_further_way_to_an_optimum_begins_after_a_stop(X, y):
    """An estimated scale has a second way, which would go far beyond three passes."""
    labels = np.random.default_rng(0).integers(2, size=len(y))
    model = regressor(n_experts=2, gate=LaplaceGate(scale="estimate"), start=labels)
    model.set_callbacks(Recorder(stop_after=3))
    model.fit(X, y)
    assert model.n_iter_ == 3
    assert model.status_.name == "INTERRUPTED"


def test_callbacks_do_not_change_the_fit(X, y):
    watched = regressor()
    watched.set_callbacks(Recorder())
    assert np.array_equal(watched.fit(X, y).coef_, regressor().fit(X, y).coef_)


def test_scoring_monitor_predicts_at_every_pass(X, y):
    monitor = callbacks.ScoringMonitor(scoring="r2")
    model = regressor()
    model.set_callbacks(monitor)
    model.fit(X, y)
    log = monitor.get_logs()
    assert len(log.data_as_pandas) >= model.n_iter_


def test_progress_bar_runs(X, y):
    model = regressor()
    model.set_callbacks(callbacks.ProgressBar())
    assert model.fit(X, y).converged_


def test_score_uses_the_exposure():
    rng = np.random.default_rng(0)
    X, exposure = rng.standard_normal((80, 1)), rng.uniform(1, 50, 80)
    counts = rng.poisson(exposure * np.exp(0.3 * X[:, 0]))
    model = MoERegressor(1, expert="poisson").fit(X, counts, exposure=exposure)
    assert model.score(X, counts, exposure=exposure) > 0.9 > 0 > model.score(X, counts)


def test_columns_without_slopes_are_counted_not_listed(X, y):
    noise = np.random.default_rng(5).standard_normal((len(X), 20))
    parts = {"gate": SoftmaxGate(penalty=L1(0.2)), "expert": GaussianExpert(penalty=L1(0.8))}
    model = regressor(**parts).fit(np.column_stack([X, noise]), y)
    silent = np.flatnonzero((model.coef_ == 0).all(axis=0))
    assert len(silent) > 2
    lines = str(model).split("\n\nGate")[0].splitlines()
    listed = {line.split()[0] for line in lines if line}
    assert listed.isdisjoint({f"x{j}" for j in silent})
    assert lines[-1] == f"{len(silent)} more columns have no slope in any of them"
