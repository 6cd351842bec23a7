"""Published and recomputed maxima: the likelihood at them, and how often a default fit finds them.

`cases.json` holds what every checkout needs; the whole collection, where it stands beside the
checkout, is used by the slow tests.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose

from mixexp import MoEClassifier, MoERegressor
from mixexp._component import EXPERTS
from mixexp.em.driver import EM
from mixexp.em.engines import MemoryEngine
from mixexp.em.params import stack, take
from tests.reference import cases as reference

pytestmark = [
    pytest.mark.reference,
    pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning"),
]
HERE = Path(__file__).parent
CASES = {case["id"]: case for case in json.loads((HERE / "cases.json").read_text())["cases"]}
INTERIOR = [name for name, case in CASES.items() if not case["mle"]["boundary"]]
QUICK = ["tone_gate_K1", "tone_gate_K2", "ethanol_gate_K2", "NPreg_const_K2", "patent_gate_K3"]
QUICK += ["betablocker_group_K2", "betablocker_group_K3"]


def frame_of(case, folder=HERE):
    return pd.read_csv(folder / case["data"], dtype={"Replicate": str})


def tolerance(case):
    return 0.05 if case["mle"]["boundary"] else 1e-4


def default_fit(case, frame, seed):
    """A fit with default settings through the estimator, rows permuted."""
    p = reference.problem(case, frame)
    order = np.random.default_rng(1000 + seed).permutation(len(p.y))
    shared = {
        "n_experts": case["K"],
        "gate": "softmax" if p.gate_columns else "constant",
        "gate_features": p.gate_columns or None,
        "expert_features": p.expert_columns,
        "random_state": seed,
    }
    if case["family"] == "multinomial":
        return MoEClassifier(**shared).fit(p.X[order], p.y[order])
    expert = EXPERTS[reference.EXPERT.get(case["family"], case["family"])]()
    if hasattr(expert, "link"):
        expert.set_params(link=case["link"])
    inputs = {"offset": p.offset, "trials": p.trials, "groups": p.groups}
    inputs = {name: value[order] for name, value in inputs.items() if value is not None}
    return MoERegressor(expert=expert, **shared).fit(p.X[order], p.y[order], **inputs)


def hits(case, frame, seeds):
    """Which seeds end in a regular optimum as high as the stored one; and what they reached."""
    fits = [default_fit(case, frame, seed) for seed in seeds]
    reached = np.array([fit.loglik_ if fit.regular_ else -np.inf for fit in fits])
    return reached >= case["mle"]["loglik"] - tolerance(case), reached


# --- at the stored parameters ---------------------------------------------------------------


@pytest.mark.parametrize("name", CASES)
def test_loglik_at_the_stored_parameters(name):
    case = CASES[name]
    model, rows = reference.build(case, frame_of(case))
    params = reference.stored_params(case, model)
    assert_allclose(model.log_prob(params, rows).sum(), case["mle"]["loglik"], rtol=1e-8)
    engine = MemoryEngine(rows, model)
    assert_allclose(engine.run(model, stack([params])).loglik, case["mle"]["loglik"], rtol=1e-8)


@pytest.mark.parametrize("name", INTERIOR)
def test_gradient_is_zero_at_the_stored_parameters(name):
    case = CASES[name]
    model, rows = reference.build(case, frame_of(case))
    params = stack([reference.stored_params(case, model)])
    stats = MemoryEngine(rows, model).run(model, params).statistics
    assert np.abs(model.gradient(params, stats)).max() < 1e-6


@pytest.mark.parametrize("name", INTERIOR)
def test_a_moved_optimum_is_returned_to(name, rng):
    case = CASES[name]
    model, rows = reference.build(case, frame_of(case))
    params = stack([reference.stored_params(case, model)])
    packed = model.pack(params)
    moved = model.unpack(packed + 1e-3 * rng.standard_normal(packed.shape), params)
    engine = MemoryEngine(rows, model)
    result = EM(tol=1e-14, gradient_tol=1e-8).run(model, moved, engine)
    assert result.status[0].converged
    loglik = engine.run(model, result.params).loglik
    assert_allclose(loglik, case["mle"]["loglik"], atol=1e-5)
    here, there = model.unpack(packed, params), result.params
    order = np.argsort(take(here, 0).expert.coef[:, 0, 0])
    again = np.argsort(take(there, 0).expert.coef[:, 0, 0])
    assert_allclose(here.expert.coef[0, order], there.expert.coef[0, again], atol=1e-3)


# --- found from the data --------------------------------------------------------------------


@pytest.mark.parametrize("name", QUICK)
def test_default_fit_finds_the_best_optimum(name):
    case = CASES[name]
    found, reached = hits(case, frame_of(case), range(2))
    assert found.all(), f"{name}: {case['mle']['loglik']} wanted, {reached} reached"


GROUPED = ["betablocker_group_K2", "betablocker_group_K3"]


@pytest.mark.parametrize("name", ["tone_gate_K2", "seizure_const_K2", "bregfix_gate_K3", *GROUPED])
def test_criteria(name):
    case = CASES[name]
    fit, mle = default_fit(case, frame_of(case), 0), case["mle"]
    n = case.get("n_units", case["n"])
    assert fit.n_units_ == n
    assert fit.n_free_ == mle["df"]
    assert_allclose(-2 * fit.loglik_ + 2 * fit.n_free_, mle["aic"], atol=1e-4)
    assert_allclose(-2 * fit.loglik_ + np.log(n) * fit.n_free_, mle["bic"], atol=1e-4)
    assert_allclose(fit.fit_summary_.entropy, mle["entropy"], atol=1e-2)
    bic = mle["bic"]
    assert_allclose(bic + 2 * fit.fit_summary_.entropy, mle["icl_entropy"], atol=2e-2)
    assert_allclose(bic + 2 * fit.fit_summary_.hard_entropy, mle["icl_hard"], atol=2e-2)


@pytest.mark.parametrize("name", GROUPED)
def test_groups_are_the_units_of_sizes_and_criteria(name):
    """flexmix has the same likelihood, and counts rows in its BIC."""
    case = CASES[name]
    fit, mle = default_fit(case, frame_of(case), 0), case["mle"]
    assert_allclose(np.sort(fit.expert_sizes_), np.sort(mle["effective_sizes"]), atol=1e-3)
    summary = fit.fit_summary_
    assert (summary.n_units, summary.n_rows) == (22, 44)
    assert_allclose(fit.loglik_, case["flexmix_loglik"], atol=1e-6)
    by_rows = -2 * fit.loglik_ + np.log(summary.n_rows) * fit.n_free_
    assert_allclose(by_rows, case["flexmix_bic"], atol=1e-5)


@pytest.mark.parametrize("name", GROUPED)
def test_standard_errors_of_groups(name):
    """From the observed information of 22 groups, against the stored ones; flexmix's agree."""
    case = CASES[name]
    frame, fit = frame_of(case), default_fit(case, frame_of(case), 0)
    p, mle = reference.problem(case, frame), case["mle"]
    order = np.argsort(fit.intercept_)[np.argsort(np.argsort(np.array(mle["expert_coef"])[:, 0]))]
    result = fit.inference(p.X, p.y, trials=p.trials, groups=p.groups, reference=int(order[0]))
    found = result.bse
    for k, own in enumerate(order):
        terms = [f"expert {own}: (intercept)", f"expert {own}: x0"]
        assert_allclose(found[terms], mle["expert_se"][k], rtol=1e-4)
        if k:
            name = f"gate {own} vs {order[0]}: (intercept)"
            assert_allclose(found[name], mle["gate_se"][k - 1][0], rtol=1e-4)
    assert result.n_obs == 22


def test_flexmix_stops_below_the_maximum():
    """flexmix divides the residual sum of squares by n - p: its fixed point is not the maximum."""
    case = CASES["tone_gate_K2"]
    fit = default_fit(case, frame_of(case), 0)
    assert case["flexmix_loglik"] < fit.loglik_ - 1e-3


# --- the whole collection -------------------------------------------------------------------


def _collection():
    """Ids of the cases in a collection beside the checkout, for parametrisation."""
    path = Path(__file__).resolve().parents[3] / "shared" / "reference" / "reference.json"
    if not path.is_file():
        return []
    return [c for c in json.loads(path.read_text())["cases"] if reference.supported(c)]


@pytest.mark.slow
@pytest.mark.parametrize("case", _collection(), ids=lambda case: case["id"])
def test_collection_loglik(case, shared_reference):
    model, rows = reference.build(case, frame_of(case, shared_reference))
    params = reference.stored_params(case, model)
    assert_allclose(model.log_prob(params, rows).sum(), case["mle"]["loglik"], rtol=1e-8)


# Where the search finds the best optimum less often than in 18 fits of 20: the measured number.
FOUND = {
    "ethanol_gamma_log_K3": 17,  # a sharp gate of 88 rows; the others end 0.79 lower
    "tone_gate_K5": 16,  # the others end 1.57 lower; 20 with MultiStart(2)
    # a third expert on the smallest number of rows that is regular; the others end 0.2, 1.4 or 2.2
    # lower, and 12 of 20 fits 1.5 higher than the best known
    "NPreg_const_K3": 13,
    # which two rows the thresholds of a separated expert lie between; the others end 0.46 lower
    "sim_multinomial_K3": 14,
}


@pytest.mark.slow
@pytest.mark.parametrize("case", _collection(), ids=lambda case: case["id"])
def test_collection_hit_rate(case, shared_reference):
    found, reached = hits(case, frame_of(case, shared_reference), range(20))
    missed = sorted(reached[~found] - case["mle"]["loglik"])
    wanted = FOUND.get(case["id"], 18)
    assert found.sum() >= wanted, f"{found.sum()} of 20; the others ended lower by {missed}"
