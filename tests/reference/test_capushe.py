"""Slope heuristics against the R package capushe 1.1.3, number for number."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_allclose

from mixexp.em.summary import FitSummary
from mixexp.selection import AIC, BIC, SlopeHeuristic

pytestmark = pytest.mark.reference
KEPT = json.loads((Path(__file__).parent / "data" / "capushe.json").read_text("utf-8"))["cases"]
DDSE = {
    "default": {},
    "lm": {"regression": "ols"},
    "huber": {"regression": "huber"},
    "pct_0.05": {"share": 0.05},
    "pct_0.30": {"share": 0.3},
    "point_10": {"least_length": 10},
    "scoef_1.5": {"factor": 1.5},
    "scoef_3": {"factor": 3},
}
DJUMP = {
    "default": {},
    "scoef_1.5": {"factor": 1.5},
    "scoef_3": {"factor": 3},
    "careajump_0.1": {"area": 0.1},
    "careajump_0.3": {"area": 0.3},
}
# exactly linear: the models 5 and 6 tie, and rounding decides between them
TIES = {("exact_linear", "scoef_3")}


def ranks(table):
    """R's positions (from 1, in sorted order) of the models given."""
    return {int(model): place + 1 for place, model in enumerate(table.order)}


def check_ddse(case, wanted, settings) -> None:
    found = SlopeHeuristic("ddse", compat="capushe", **settings).of(
        case["complexity"], case["contrast"], case["penalty"]
    )
    place = ranks(found.table)
    assert_allclose(found.slopes, wanted["kappa"], rtol=1e-9)
    assert [place[model] for model in found.models] == wanted["model_hat"]
    assert [plateau.length for plateau in found.plateaus] == as_list(wanted["number_plateau"])
    assert found.plateau + 1 == wanted["imax"]
    assert_allclose(found.slope_interval, wanted["slope_interval"], rtol=1e-9)
    assert_allclose(found.share, wanted["percent_of_points"])
    assert len(found.table.order) - found.line == wanted["point_using"]
    line = found.intercepts[found.line], found.slopes[found.line]
    assert_allclose(line, wanted["reg_coef"], rtol=1e-9, atol=1e-12)
    assert case["names"][found.chosen] == str(wanted["model"])


def check_djump(case, wanted, settings) -> None:
    found = SlopeHeuristic("djump", compat="capushe", **settings).of(
        case["complexity"], case["contrast"], case["penalty"]
    )
    place = ranks(found.table)
    assert_allclose(found.kappa, wanted["kappa"], rtol=1e-9)
    assert [place[model] for model in found.models] == wanted["model_hat"]
    assert_allclose(found.jumps, as_list(wanted["jump"]))
    assert found.jump + 1 == wanted["JumpMax"]
    assert_allclose([found.kappa_hat, found.kappa_opt], [wanted["kappa_hat"], wanted["Kopt"]])
    assert case["names"][found.chosen] == str(wanted["model"])
    if wanted["area"]:
        area = wanted["area"]
        assert_allclose(found.area, [area["kappainf"], area["kappasup"]], rtol=1e-9)
        assert [place[m] for m in found.area_models] == as_list(area["Modeloptarea"])


def as_list(value) -> list:
    return list(np.atleast_1d(value))


def jump_settings(setting, wanted) -> dict:
    return {"threshold": wanted["Ctresh"]} if setting == "ctresh_mid" else DJUMP[setting]


@pytest.mark.parametrize("name", sorted(KEPT))
def test_kept_facts(name) -> None:
    case = KEPT[name]
    for setting, wanted in case["DDSE"].items():
        check_ddse(case, wanted, DDSE[setting])
    for setting, wanted in case["Djump"].items():
        check_djump(case, wanted, jump_settings(setting, wanted))


@pytest.mark.parametrize("name", sorted(KEPT))
@pytest.mark.parametrize("criterion", [AIC(), BIC()], ids=["AIC", "BIC"])
def test_information_criteria_are_capushes_on_the_deviance_scale(name, criterion) -> None:
    """capushe minimises contrast + C / n and contrast + C log(n) / (2 n)."""
    case, n = KEPT[name], 1000.0
    fits = [
        FitSummary(-n * g, int(c), n, 0.0, 0.0)
        for g, c in zip(case["contrast"], case["complexity"], strict=True)
    ]
    scores, wanted = criterion.scores(fits) / (2 * n), case[f"{type(criterion).__name__}_n1000"]
    assert case["names"][int(np.argmin(scores))] == str(wanted["model"])
    assert_allclose(scores.min(), wanted[type(criterion).__name__], rtol=1e-12)


def test_published_check_values() -> None:
    """K = 21 by both methods; the numbers that accompany the simulations of Nguyen et al. (2022),
    "A non-asymptotic approach for model selection via penalization in high-dimensional mixture of
    experts models", Electronic Journal of Statistics 16.
    """
    case = KEPT["datacapushe"]
    table = case["complexity"], case["contrast"], case["penalty"]
    jump = SlopeHeuristic("djump").of(*table)
    assert case["names"][jump.chosen] == "K=21"
    assert_allclose(jump.kappa_hat, 1.293625, atol=1e-6)
    slope = SlopeHeuristic(compat="capushe").of(*table)
    assert case["names"][slope.chosen] == "K=21"
    assert_allclose(slope.slope_interval, [1.177745, 2.615476], atol=1e-6)
    assert round(100 * slope.share) == 88
    assert SlopeHeuristic().of(*table).chosen == slope.chosen


def test_all_recorded_configurations(shared_reference) -> None:
    cases = json.loads((shared_reference / "capushe_reference.json").read_text("utf-8"))["cases"]
    checked = 0
    for name, case in cases.items():
        with open(shared_reference / case["data"], encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
        table = {"names": [row["model"] for row in rows]}
        for key, column in (("complexity",) * 2, ("contrast",) * 2, ("penalty", "pen")):
            table[key] = [float(row[column]) for row in rows]
        for setting, wanted in case["DDSE"].items():
            if (name, setting) not in TIES:
                check_ddse(table, wanted, DDSE[setting])
                checked += 1
        for setting, wanted in case["Djump"].items():
            check_djump(table, wanted, jump_settings(setting, wanted))
            checked += 1
    assert checked == 7 * 14 - len(TIES)
