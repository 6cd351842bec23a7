"""Formulas: designs as statsmodels makes them, predictions on new frames, files and errors."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm
import statsmodels.formula.api as smf
from numpy.testing import assert_allclose
from sklearn.base import clone
from sklearn.model_selection import cross_val_score

import mixexp
from mixexp import FormulaMoE, MoERegressor, moe

TERMS = "age * C(site) + np.sqrt(dose)"
FAMILIES = {
    "gaussian": sm.families.Gaussian(),
    "poisson": sm.families.Poisson(),
    "gamma": sm.families.Gamma(sm.families.links.Log()),
}


@pytest.fixture(scope="module")
def frame():
    rng = np.random.default_rng(0)
    n = 300
    data = pd.DataFrame(
        {
            "age": rng.normal(50, 10, n),
            "dose": rng.uniform(0.1, 4, n),
            "site": rng.choice(["A", "B", "C"], n),
            "time": rng.uniform(0.5, 2, n),
        }
    )
    eta = 0.02 * data["age"] + 0.3 * (data["site"] == "B") - 0.2 * np.sqrt(data["dose"])
    data["gaussian"] = eta + 0.3 * rng.normal(size=n)
    data["poisson"] = rng.poisson(np.exp(eta) * data["time"]).astype(float)
    data["gamma"] = rng.gamma(4.0, np.exp(eta) / 4)
    return data


@pytest.mark.parametrize("family", list(FAMILIES))
def test_one_expert_has_the_coefficients_of_a_glm(frame, family):
    model = moe(f"{family} ~ {TERMS}", frame, n_experts=1, family=family)
    glm = smf.glm(f"{family} ~ {TERMS}", frame, family=FAMILIES[family]).fit(tol=1e-12)
    mine = model.coef_.iloc[0]
    assert len(mine) == len(glm.params)
    assert_allclose(np.sort(mine), np.sort(glm.params), rtol=1e-5)
    assert_allclose(model.predict(frame), glm.predict(frame), rtol=1e-6)


def test_an_offset_in_the_formula_is_an_exposure(frame):
    by_term = moe("poisson ~ age + offset(log(time))", frame, n_experts=1, family="poisson")
    by_name = moe("poisson ~ age", frame, n_experts=1, family="poisson", exposure="time")
    assert_allclose(by_term.loglik_, by_name.loglik_, rtol=1e-9)
    assert_allclose(by_term.predict(frame), by_name.predict(frame), rtol=1e-7)


def test_the_bar_divides_experts_and_gate(frame):
    model = moe("gaussian ~ age + dose | age", frame, n_experts=2)
    plain = MoERegressor(2, gate_features=["age"]).fit(frame[["age", "dose"]], frame["gaussian"])
    assert_allclose(model.loglik_, plain.loglik_, rtol=1e-7)
    assert list(model.gate_coef_.columns) == ["(intercept)", "age"]
    constant = moe("gaussian ~ age | 1", frame, n_experts=2)
    assert list(constant.gate_coef_.columns) == ["(intercept)"]


@pytest.mark.parametrize("terms", ["poly(age, 2)", "bs(age, df=5)", "scale(age)", "C(site)"])
def test_new_rows_get_the_encoding_of_the_training_rows(frame, terms):
    model = moe(f"gaussian ~ {terms}", frame, n_experts=1)
    inside = frame.iloc[[5, 200]]
    assert_allclose(model.predict(inside), model.predict(frame)[[5, 200]], rtol=1e-9)


def test_a_saved_formula_predicts_the_same(frame, tmp_path):
    model = moe("gaussian ~ bs(age, df=4) + C(site) | dose", frame, n_experts=2)
    model.save(tmp_path / "model.mixexp")
    loaded = mixexp.load(tmp_path / "model.mixexp")
    assert_allclose(loaded.predict(frame), model.predict(frame), rtol=1e-12)
    assert loaded.summary() == model.summary()


def test_rows_that_lack_a_value_are_counted(frame):
    holes = frame.copy()
    holes.loc[[3, 8], "dose"] = np.nan
    model = moe("gaussian ~ age + dose", holes, n_experts=1)
    assert model.n_dropped_ == 2
    with pytest.raises(ValueError, match="dose"):
        model.predict(holes)
    with pytest.raises(ValueError, match="dose"):
        moe("gaussian ~ age + dose", holes, n_experts=1, missing="raise")


def test_it_is_a_scikit_learn_estimator(frame):
    model = FormulaMoE("gaussian ~ age + C(site)", MoERegressor(1))
    scores = cross_val_score(clone(model), frame, frame["gaussian"], cv=3)
    assert scores.shape == (3,)
    assert np.all(scores > 0)


@pytest.mark.parametrize(
    ("formula", "says"),
    [
        ("gaussian ~ agee", "age"),
        ("gaussian ~ age | dose | site", "bars"),
        ("gaussian ~ (1 | site)", "random effects"),
        ("gaussian ~ 0 + age", "intercept"),
        ("missing ~ age", "missing"),
        ("gaussian age", "~"),
    ],
)
def test_errors_say_what_to_do(frame, formula, says):
    with pytest.raises(ValueError, match=says):
        moe(formula, frame)


def test_an_unseen_level_is_named(frame):
    model = moe("gaussian ~ C(site)", frame, n_experts=1)
    with pytest.raises(ValueError, match="D"):
        model.predict(pd.DataFrame({"site": ["A", "D"]}))


def test_a_formula_executes_no_foreign_code(frame):
    with pytest.raises(ValueError, match="not"):
        moe("gaussian ~ __import__('os').getcwd()", frame)


def test_training_rows_hold_their_own_aliasing_to_the_tolerance_it_was_found_with():
    rng = np.random.default_rng(0)
    n = 3000
    frame = pd.DataFrame({"x": rng.standard_normal(n)})
    frame["twin"] = frame["x"]
    frame.loc[7, "twin"] += 4e-6  # of the column's norm less than is taken for a difference
    frame["y"] = frame["x"] + 0.1 * rng.standard_normal(n)
    model = moe("y ~ x + twin | 1", frame, n_experts=1)
    assert model.aliased_["experts"] == ["twin"]
    assert np.isfinite(model.predict(frame)).all()
    frame.loc[8, "twin"] += 1e-3
    with pytest.raises(ValueError, match="1 of the new rows does not follow"):
        model.predict(frame)
