"""One study read by many criteria: the choices are those of studies that were decided by them."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose

from mixexp import MoERegressor, SelectionStudy
from mixexp.selection import CRITERIA

GRID = {"n_experts": [1, 2, 3], "expert__degree": [1, 2]}


def bent(n=90):
    rng = np.random.default_rng(0)
    x = rng.uniform(-2, 2, n)
    return x[:, None], np.where(x < 0, 1 + 2 * x, 1 - 2 * x) + 0.3 * rng.standard_normal(n)


def study(criterion, cv, **more):
    return SelectionStudy(MoERegressor(), GRID, criterion, cv=cv, **more).fit(*bent()).result_


@pytest.fixture(scope="module")
def result():
    return study("bic", 2)


slowly = [pytest.param(name, marks=pytest.mark.slow) for name in ("icl", "nec")]


@pytest.mark.parametrize("criterion", ["aic", "cv", *slowly])
def test_another_criterion_reads_the_fits_as_a_study_of_its_own_would(result, criterion):
    found, own = result.by(criterion), study(criterion, 2)
    assert found.chosen == own.chosen and found.criterion == own.criterion
    assert_allclose(found.table["score"], own.table["score"], rtol=1e-6)
    assert found.table["chosen"].tolist() == own.table["chosen"].tolist()
    assert found.headline() == own.headline()
    assert found.best_estimator_ is result.models[found.chosen]


@pytest.mark.slow
def test_one_standard_error_is_read_without_fitting(result):
    found, own = result.by("cv", one_se=True), study("cv", 2, one_se=True)
    assert (found.chosen, found.notes) == (own.chosen, own.notes)
    assert found.settings["one_se"] and not result.settings["one_se"]


def test_choices_list_every_criterion_that_can_score(result):
    table = result.choices().set_index("criterion")
    # six fits are too few for a slope
    assert set(table.index) == {*CRITERIA, "cv"} - {"slope"}
    for name, row in table.iterrows():
        assert row["line"] == result.by(name).chosen
        assert row["label"] == result.table.loc[row["line"], "label"]
        assert row["runner_up"] != row["label"]


def test_a_study_without_folds_is_not_read_by_them():
    result = study("bic", None)
    assert "cv" not in set(result.choices()["criterion"])
    with pytest.raises(ValueError, match="needs a study with folds"):
        result.by("cv")
    with pytest.raises(ValueError, match="Unknown criterion"):
        result.by("no such criterion")


@pytest.mark.slow
def test_the_slope_is_that_of_the_regular_fits():
    grid = {"n_experts": [1, 2, 3, 4], "expert__degree": [1, 2, 3]}
    result = SelectionStudy(MoERegressor(), grid, "slope", cv=None).fit(*bent()).result_
    found, regular = result.slope(), result.table.index[result.table["regular"]]
    assert regular[found.chosen] == result.chosen
