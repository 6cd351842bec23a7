"""Mixtures whose penalty strengths are chosen inside ``fit``."""

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone
from sklearn.datasets import load_iris
from sklearn.exceptions import NotFittedError
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from mixexp import LassoMoEClassifierCV, LassoMoERegressorCV, MoERegressor, MultiStart, load
from tests.sklearn_checks import checks_of

from .planted import planted

FEW = MultiStart(n_starts=0.1, max_rounds=1)
QUICK = {"start": FEW, "penalties_expert": 4, "searches": 1, "cv": 2}
QUICKEST = QUICK | {"penalties_expert": 3, "searches": 0}


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@checks_of([LassoMoERegressorCV(**QUICKEST), LassoMoEClassifierCV(**QUICKEST)], long=False)
def test_scikit_learn_check(estimator, check):
    check(estimator)


@pytest.fixture(scope="module")
def data():
    return planted(150, 8)


@pytest.fixture(scope="module")
def model(data):
    return LassoMoERegressorCV(**QUICK | {"penalties_expert": 8, "cv": 3}).fit(*data)


def test_the_chosen_fit_is_the_best_of_its_path(model, data):
    table = model.path_.table
    assert model.best_index_ == model.path_.best("cv")
    assert table["cv_loglik"].notna().all()
    assert model.alpha_expert_ == table["alpha_expert"].iloc[model.best_index_]
    assert model.alpha_gate_ == table["alpha_gate"].iloc[model.best_index_]
    assert_array_equal(model.coef_, model.path_.coef[model.best_index_])
    own = model.best_estimator_
    assert type(own) is MoERegressor
    assert_array_equal(own.predict(data[0]), model.predict(data[0]))
    assert_array_equal(own.log_prob(*data), model.log_prob(*data))


def test_the_planted_columns_are_found(model):
    assert (model.coef_[:, 2:4] != 0).any(axis=0).all()
    assert (model.gate_coef_[:, 0] != 0).any()


def test_held_out_rows_are_predicted_better_than_by_one_line(model):
    from sklearn.linear_model import LassoCV

    X, y = planted(150, 8, seed=1)
    line = LassoCV().fit(*planted(150, 8))
    assert model.score(X, y) > line.score(X, y) + 0.1


@pytest.mark.slow
def test_one_standard_error_takes_fewer_parameters(data, model):
    sparse = clone(model).set_params(one_se=True).fit(*data)
    assert sparse.path_.table["cv_loglik"].equals(model.path_.table["cv_loglik"])
    free = model.path_.table["n_free"]
    assert free[sparse.best_index_] <= free[model.best_index_]
    gap = model.path_.cv_log_prob[model.best_index_] - model.path_.cv_log_prob[sparse.best_index_]
    assert gap.mean() <= gap.std(ddof=1) / np.sqrt(len(gap))


def test_a_criterion_needs_no_folds(data):
    model = LassoMoERegressorCV(**QUICK | {"criterion": "bic"}).fit(*data)
    assert model.path_.cv_log_prob is None
    assert model.best_index_ == model.path_.best("bic")


def test_a_weight_of_two_is_a_row_twice(data):
    X, y = data
    weight = np.where(np.arange(len(y)) % 5 == 0, 2, 1)
    weighted = LassoMoERegressorCV(**QUICK).fit(X, y, weight)
    order = np.random.default_rng(0).permutation(np.repeat(np.arange(len(y)), weight))
    repeated = LassoMoERegressorCV(**QUICK).fit(X[order], y[order])
    assert_allclose(repeated.path_.table["cv_loglik"], weighted.path_.table["cv_loglik"], rtol=1e-6)
    assert_allclose(repeated.predict(X), weighted.predict(X), rtol=1e-6)


def test_counts_with_exposure():
    rng = np.random.default_rng(3)
    X, exposure = rng.standard_normal((200, 5)), rng.uniform(0.5, 3, 200)
    rate = np.exp(np.where(X[:, 0] > 0, 1 + 0.7 * X[:, 1], -0.5 - 0.7 * X[:, 1]))
    y = rng.poisson(rate * exposure)
    model = LassoMoERegressorCV(expert="poisson", **QUICK).fit(X, y, exposure=exposure)
    error = np.abs(model.predict(X, exposure=exposure) - rate * exposure).mean()
    assert error < 0.25 * np.abs(y.mean() - rate * exposure).mean()


def test_names_of_columns_and_pipelines(data):
    X, y = data
    frame = pd.DataFrame(X, columns=[f"c{j}" for j in range(X.shape[1])])
    settings = QUICK | {"gate_features": ["c0", "c1"]}
    model = LassoMoERegressorCV(**settings).fit(frame, y)
    assert list(model.gate_feature_names_) == ["c0", "c1"]
    assert "c3" in str(model.summary())
    pipe = make_pipeline(StandardScaler(), LassoMoERegressorCV(**QUICK)).fit(X, y)
    assert pipe.score(X, y) > 0.5


def test_classes_keep_their_names():
    X, y = load_iris(return_X_y=True)
    names = np.array(["setosa", "versicolor", "virginica"])[y]
    model = LassoMoEClassifierCV(1, **QUICK).fit(X, names)
    assert set(model.predict(X)) == set(names)
    assert model.score(X, names) > 0.9
    assert_allclose(model.predict_proba(X).sum(axis=1), 1)


def test_what_is_saved_predicts_alike(model, data, tmp_path):
    model.save(tmp_path / "model.mixexp")
    loaded = load(tmp_path / "model.mixexp")
    assert_array_equal(loaded.predict(data[0]), model.predict(data[0]))


def test_there_is_nothing_before_a_fit_and_no_online_step(data):
    with pytest.raises(NotFittedError):
        LassoMoERegressorCV().best_estimator_
    with pytest.raises(NotFittedError):
        LassoMoERegressorCV().save("nowhere")
    assert not hasattr(LassoMoERegressorCV(), "partial_fit")
    assert not hasattr(LassoMoEClassifierCV(), "partial_fit")


def test_a_refit_forgets_names_of_columns(data):
    X, y = data
    model = LassoMoERegressorCV(**QUICK).fit(pd.DataFrame(X).rename(columns=str), y)
    assert hasattr(model, "feature_names_in_")
    assert not hasattr(model.fit(X, y), "feature_names_in_")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"cv": 1}, "cv=1 needs at least 2 folds"),
        ({"criterion": "bicc"}, "criterion"),
        ({"criterion": "bic", "one_se": True}, "needs criterion='cv'"),
        ({"start": np.zeros(150, dtype=int)}, "start must be 'default' or MultiStart"),
        ({"n_experts": 0}, "n_experts"),
        ({"penalties_expert": 0}, "penalties_expert must be at least 1"),
    ],
)
def test_settings_that_mean_nothing(data, settings, message):
    with pytest.raises(ValueError, match=message):
        LassoMoERegressorCV(**QUICK | settings).fit(*data)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@checks_of([LassoMoERegressorCV(**QUICK), LassoMoEClassifierCV(**QUICK)])
def test_scikit_learn_check_with_searches(estimator, check):
    check(estimator)
