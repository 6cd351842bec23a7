"""The study: what is fitted, what is chosen, what is said."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose
from sklearn.base import is_classifier

from mixexp import L2, GaussianExpert, MoEClassifier, MoERegressor
from mixexp.selection import SelectionStudy
from mixexp.selection.study import assemble as assembling
from mixexp.selection.study.chains import FitRecord, as_penalty, build
from mixexp.selection.study.choice import choose
from mixexp.selection.study.study import cells_of


@pytest.fixture(scope="module")
def data() -> tuple[pd.DataFrame, np.ndarray]:
    rng = np.random.default_rng(0)
    x = rng.uniform(-2, 2, size=80)
    y = np.where(x < 0, 1 + 2 * x, 1 - 2 * x) + 0.2 * rng.normal(size=80)
    return pd.DataFrame({"x": x}), y


@pytest.fixture(scope="module")
def study(data: tuple[pd.DataFrame, np.ndarray]) -> SelectionStudy:
    grid = {"n_experts": [2], "expert__penalty": [0, 0.01]}
    return SelectionStudy(MoERegressor(), grid, cv=3, random_state=0).fit(*data)


def test_the_true_number_is_chosen_and_the_baseline_is_shown(study: SelectionStudy) -> None:
    result = study.result_
    assert study.best_estimator_.n_experts_ == 2
    baseline = result.table.loc[result.baseline]
    assert baseline["n_experts"] == 1 and not baseline["in_grid"]
    assert baseline["score"] > result.table.loc[result.chosen, "score"] + 10


def test_table_agrees_with_the_models(study: SelectionStudy) -> None:
    for line, model in study.result_.models.items():
        row = study.result_.table.loc[line]
        assert row["loglik"] == model.loglik_
        assert_allclose(row["bic"], -2 * model.loglik_ + model.n_free_ * np.log(80))


def test_cross_validation_equals_fits_by_hand(
    study: SelectionStudy, data: tuple[pd.DataFrame, np.ndarray]
) -> None:
    from mixexp.selection.folds import make_folds

    X, y = data
    values = np.empty(80)
    for train, test in make_folds(y, 3, classes=False, random_state=0):
        model = MoERegressor(1, random_state=0).fit(X.iloc[train], y[train])
        values[test] = model.log_prob(X.iloc[test], y[test])
    table = study.result_.table
    row = table[(table["n_experts"] == 1) & (table["cell"] == "expert penalty 0")].iloc[0]
    assert_allclose(row["cv_loglik"], values.mean())
    assert_allclose(row["cv_se"], values.std(ddof=1) / np.sqrt(80))


def test_same_result_in_several_processes(data: tuple[pd.DataFrame, np.ndarray]) -> None:
    settings = {"grid": {"n_experts": [1]}, "cv": 2, "random_state": 0}
    tables = [
        SelectionStudy(MoERegressor(), **settings, n_jobs=jobs).fit(*data).result_.table
        for jobs in (1, 2)
    ]
    pd.testing.assert_frame_equal(*tables)


def test_json_is_complete_and_loads(study: SelectionStudy) -> None:
    content = json.loads(study.result_.to_json(seed=3))
    assert content["format"] == "mixexp-study"
    assert len(content["table"]) == len(study.result_.table)
    assert content["headline"].startswith("Two experts")
    assert content["seed"] == 3


def test_weights_count_as_repetitions(data: tuple[pd.DataFrame, np.ndarray]) -> None:
    X, y = data
    settings = {"grid": {"n_experts": [1, 2]}, "cv": None, "random_state": 0}
    once = SelectionStudy(MoERegressor(), **settings).fit(X, y, np.full(80, 2.0))
    twice = SelectionStudy(MoERegressor(), **settings).fit(
        pd.concat([X, X], ignore_index=True), np.concatenate([y, y])
    )
    assert_allclose(once.result_.table["bic"], twice.result_.table["bic"], rtol=1e-6)


def test_cv_decides_and_one_error_prefers_the_simpler(
    data: tuple[pd.DataFrame, np.ndarray],
) -> None:
    grid = {"n_experts": [1, 2, 3]}
    chosen = [
        SelectionStudy(MoERegressor(), grid, "cv", cv=2, one_se=rule, random_state=0)
        .fit(*data)
        .best_estimator_.n_experts_
        for rule in (False, True)
    ]
    assert chosen[1] == 2
    assert chosen[0] >= chosen[1]


def test_classifier_study_predicts() -> None:
    rng = np.random.default_rng(1)
    X = rng.normal(size=(60, 2))
    y = np.where(X[:, 0] + 0.8 * rng.normal(size=60) > 0, "yes", "no")
    grid = {"n_experts": [1], "expert__penalty": [0.01]}
    study = SelectionStudy(MoEClassifier(), grid, cv=2, random_state=0).fit(X, y)
    assert set(study.predict(X)) <= {"yes", "no"}
    assert study.predict_proba(X).shape == (60, 2)
    assert is_classifier(study) and list(study.classes_) == ["no", "yes"]


def test_a_fit_that_fails_is_shown_with_its_reason(data: tuple[pd.DataFrame, np.ndarray]) -> None:
    study = SelectionStudy(
        MoERegressor(), {"expert": ["gaussian", "gamma"], "n_experts": [1]}, cv=None
    ).fit(*data)
    failed = study.result_.table[study.result_.table["status"] == "FAILED"]
    assert list(failed["cell"]) == ["gamma"]
    assert any("could not be fitted" in note for note in study.result_.notes)
    assert study.best_params_ == {"expert": "gaussian", "n_experts": 1}


def test_an_error_of_every_fit_is_raised(data: tuple[pd.DataFrame, np.ndarray]) -> None:
    with pytest.raises(ValueError, match="positive targets"):
        SelectionStudy(MoERegressor(expert="gamma"), {"n_experts": [1]}, cv=None).fit(*data)


def test_counts_and_densities_are_not_compared() -> None:
    X, y = np.arange(30.0)[:, None], np.arange(30) % 4
    study = SelectionStudy(MoERegressor(), {"expert": ["gaussian", "poisson"], "n_experts": [1]})
    with pytest.raises(ValueError, match="cannot be compared"):
        study.set_params(cv=None).fit(X, y)


def test_a_degenerate_fit_is_never_chosen_beside_a_regular_one() -> None:
    table = pd.DataFrame(
        {
            "label": ["K = 1", "K = 2"],
            "loglik": [-5.0, 5.0],
            "n_free": [2.0, 5.0],
            "in_grid": True,
            "regular": [True, False],
            "score": [20.0, -5.0],
        }
    )
    chosen, notes = choose(table, "bic", False, np.empty((2, 0)), None)
    assert chosen == 0
    assert "degenerate" in notes[0]


def test_a_fold_that_fails_leaves_no_value_but_a_note() -> None:
    cell = assembling.Cell.of({}, {1})
    records = {(0, 0): [FitRecord(1, error="bad fold")]}
    folds = [(np.array([1]), np.array([0]))]
    values, notes = assembling._cross_validated([cell], records, folds, 2)
    assert np.isnan(values).all()
    assert "bad fold" in notes[0]


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"criterion": "bicc"}, "criterion must be one of"),
        ({"criterion": "cv", "cv": None}, "needs folds"),
        ({"grid": {"n_experts": [0]}}, "whole number of at least 1"),
        ({"random_state": np.random.RandomState(0)}, "must be an integer"),
    ],
)
def test_wrong_settings_are_named(
    data: tuple[pd.DataFrame, np.ndarray], settings: dict, says: str
) -> None:
    chosen = {"grid": {"n_experts": [1]}} | settings
    with pytest.raises(ValueError, match=says):
        SelectionStudy(MoERegressor(), **chosen).fit(*data)


def test_settings_of_named_parts_build_the_part() -> None:
    model = build(MoERegressor(), {"expert__penalty": 0.5, "gate__penalty": None}, 3)
    assert isinstance(model.expert, GaussianExpert) and model.expert.penalty.alpha == 0.5
    assert model.gate.penalty is None and model.n_experts == 3
    assert as_penalty(0) is None and isinstance(as_penalty(2), L2)


def test_cells_group_by_settings() -> None:
    grid = [{"n_experts": [3, 2], "expert__penalty": [0.0, 1.0]}]
    cells = cells_of(grid, MoERegressor())
    assert [cell.experts for cell in cells] == [(1, 2, 3)] * 2
    assert [cell.label for cell in cells] == ["expert penalty 0", "expert penalty 1"]


def test_lists_are_taken(data: tuple[pd.DataFrame, np.ndarray]) -> None:
    X, y = data
    study = SelectionStudy(MoERegressor(), {"n_experts": [1]}, cv=None)
    assert study.fit(X.to_numpy().tolist(), y.tolist()).result_.data["columns"] == 1
