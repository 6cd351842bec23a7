"""One expert with random effects is a (generalised) linear mixed model: lme4's numbers."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose
from scipy import stats

from mixexp import MixedEffectsMoERegressor

pytestmark = pytest.mark.reference
DATA = Path(__file__).parent / "data"
CASES = {case["id"]: case for case in json.loads((DATA / "lme4.json").read_text("utf-8"))["cases"]}


def frame_of(case):
    return pd.read_csv(DATA / case["data"])


def _cbpp(frame, approximation="laplace"):
    X = pd.DataFrame({f"period{k}": (frame["period"] == k) * 1.0 for k in (2, 3, 4)})
    model = MixedEffectsMoERegressor(1, family="binomial", approximation=approximation)
    groups = {"herd": frame["herd"]}
    return model.fit(X, frame["incidence"], groups=groups, trials=frame["size"])


def _grouse(frame, names, approximation="laplace"):
    X = pd.DataFrame({f"YEAR{year}": (frame["YEAR"] == year) * 1.0 for year in (96, 97)})
    X["height"] = frame["HEIGHT"] - 460.0
    model = MixedEffectsMoERegressor(1, family="poisson", approximation=approximation)
    return model.fit(X, frame["TICKS"], groups=frame[names])


def _sleep(frame):
    model = MixedEffectsMoERegressor(1, expert_random=("1", "Days"))
    return model.fit(frame[["Days"]], frame["Reaction"], groups=frame["Subject"])


def _pastes(frame):
    model = MixedEffectsMoERegressor(1, expert_features=[])
    return model.fit(np.zeros((len(frame), 1)), frame["strength"], frame[["batch", "sample"]])


FITS = {
    "cbpp": _cbpp,
    "cbpp_quadrature": lambda frame: _cbpp(frame, "quadrature"),
    "grouseticks": lambda frame: _grouse(frame, ["BROOD", "LOCATION"]),
    "grouseticks_quadrature": lambda frame: _grouse(frame, ["BROOD"], "quadrature"),
    "sleepstudy": _sleep,
    "pastes": _pastes,
}


def saturated(case, frame):
    """The log-likelihood that glmer leaves out where it integrates by quadrature."""
    if not case["id"].endswith("quadrature"):
        return 0.0
    if "cbpp" in case["id"]:
        y, size = frame["incidence"], frame["size"]
        return stats.binom.logpmf(y, size, y / size).sum()
    return stats.poisson.logpmf(frame["TICKS"], frame["TICKS"]).sum()


@pytest.mark.parametrize("name", FITS)
def test_estimates_and_standard_errors(name):
    case, frame = CASES[name], frame_of(CASES[name])
    model = FITS[name](frame)
    assert model.converged_
    assert_allclose(model.loglik_, case["loglik"] + saturated(case, frame), atol=2e-5)
    count = len(case["fixef"])
    assert_allclose(model.coefficients_["coef"][:count], case["fixef"], rtol=1e-4)
    assert_allclose(model.coefficients_["std err"][:count], case["se"], rtol=1e-4)
    if case["residual"] is not None:
        assert_allclose(model.dispersion_[0], case["residual"], rtol=1e-4)
    found = model.variance_components_.set_index("factor")
    for one in case["components"]:
        rows = found.loc[[one["factor"]]]
        term = "(intercept)" if one["term"] == "(Intercept)" else one["term"]
        rows = rows[rows["kind"] == ("correlation" if one["with"] else "std. deviation")]
        rows = rows if one["with"] else rows[rows["term"] == term]
        assert_allclose(rows["estimate"], [one["value"]], rtol=1e-4)


def test_modes_of_the_groups():
    case, frame = CASES["cbpp"], frame_of(CASES["cbpp"])
    effects = _cbpp(frame).random_effects_["herd"]
    wanted = [case["modes"]["herd"][str(label)] for label in effects.index]
    assert_allclose(effects.to_numpy()[:, 0], wanted, atol=1e-5)
