"""Choosing among fits to groups of rows: folds, criteria, tests and diagnostics."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.model_selection import GroupKFold, KFold

from mixexp import L1, GaussianExpert, MoERegressor, SelectionStudy, conformalize
from mixexp.explain import (
    gate_calibration,
    influence,
    leverage,
    quantile_residuals,
    refitted_envelope,
)
from mixexp.inference import vuong_test
from mixexp.selection import bootstrap_lrt, merge_path, split_inference
from mixexp.selection.folds import make_folds


@pytest.fixture
def panel(rng):
    """Thirty subjects of two kinds, four rows each; rows in no order."""
    who = rng.permutation(np.repeat(np.arange(30), 4))
    kind = np.arange(30) % 2
    x = rng.standard_normal(120)
    y = np.where(kind[who] == 1, 1 + 2 * x, -1 - x) + rng.standard_normal(120)
    return x[:, None], y, who


TEMPLATE = MoERegressor(gate="constant")


def test_folds_keep_groups_together(panel):
    X, y, who = panel
    folds = make_folds(y, 4, classes=False, random_state=0, groups=who)
    assert len(folds) == 4
    for train, test in folds:
        assert not set(who[train]) & set(who[test])
        assert_array_equal(np.sort(np.r_[train, test]), np.arange(120))
    own = make_folds(y, GroupKFold(3), classes=False, X=X, groups=who)
    assert len(own) == 3
    with pytest.raises(ValueError, match="divides .* groups between training and test"):
        make_folds(y, KFold(3).split(X), classes=False, X=X, groups=who)
    with pytest.raises(ValueError, match="at least 2 groups; got 1"):
        make_folds(y, 4, classes=False, groups=np.zeros(120, dtype=int))


@pytest.mark.slow
def test_a_study_of_groups(panel, tmp_path):
    X, y, who = panel
    labels = np.array([f"s{i}" for i in who])
    settings = {"cv": 3, "random_state": 0, "checkpoint": tmp_path / "study"}
    study = SelectionStudy(TEMPLATE, {"n_experts": [1, 2, 3]}, "cv", **settings)
    result = study.fit(X, y, groups=labels).result_
    assert study.best_params_["n_experts"] == 2
    assert result.data["groups"] == 30 and result.data["rows"] == 120
    tested = np.isfinite(result.cv_log_prob)
    assert_array_equal(tested.sum(axis=1), [30, 30, 30])  # a value for every group
    fold = make_folds(y, 3, classes=False, random_state=0, groups=who)[0]
    train, test = fold
    own = MoERegressor(2, gate="constant").fit(X[train], y[train], groups=who[train])
    wanted = own.log_prob(X[test], y[test], groups=who[test])
    line = result.cv_log_prob[1][test]
    assert_allclose(line[np.isfinite(line)].sum(), wanted.sum(), rtol=1e-6)
    best = study.best_estimator_
    bic = -2 * best.loglik_ + best.n_free_ * np.log(30)
    assert_allclose(result.table.loc[result.chosen, "bic"], bic, rtol=1e-10)
    again = SelectionStudy(TEMPLATE, {"n_experts": [1, 2, 3]}, "cv", **settings)
    again.fit(X, y, groups=labels)
    assert_array_equal(again.result_.cv_log_prob, result.cv_log_prob)
    assert_allclose(study.log_prob(X, y, groups=labels).sum(), best.loglik_, rtol=1e-10)


@pytest.mark.slow
def test_one_against_two_experts_of_groups(panel):
    X, y, who = panel
    test = bootstrap_lrt(MoERegressor(1, gate="constant"), X, y, groups=who, n_boot=9)
    assert test.pvalue == 0.1  # the smallest of nine samples
    one = MoERegressor(1, gate="constant").fit(X, y, groups=who)
    two = MoERegressor(2, gate="constant").fit(X, y, groups=who)
    weight = np.ones(120)
    found = vuong_test(two, one, X, y, groups=who)
    assert found.statistic > 3
    weighted = vuong_test(two, one, X, y, sample_weight=2 * weight, groups=who)
    assert_allclose(weighted.statistic, np.sqrt(2) * found.statistic, rtol=1e-10)


def test_sample_splitting_divides_groups_whole(panel, rng):
    X, y, who = panel
    wide = np.column_stack([X, rng.standard_normal((120, 3))])
    lasso = MoERegressor(2, gate="constant", expert=GaussianExpert(penalty=L1(0.2)))
    found = split_inference(lasso, wide, y, groups=who)
    assert not set(who[found.chosen_on]) & set(who[found.estimated_on])
    assert found.result.n_obs == 15 and 0 in found.expert_features


def test_what_reads_rows_one_by_one_refuses_fits_to_groups(panel):
    X, y, who = panel
    model = MoERegressor(2, gate="constant").fit(X, y, groups=who)

    calls = {
        "influence": lambda: influence(model, X, y),
        "leverage": lambda: leverage(model, X, y),
        "gate_calibration": lambda: gate_calibration(model, X, y),
        "Merging experts": lambda: merge_path(model, X, y),
        "Conformal prediction": lambda: conformalize(model, X, y),
        "refitted_envelope": lambda: refitted_envelope(model, X, y, n_draws=39),
    }
    for what, call in calls.items():
        with pytest.raises(ValueError, match=f"{what}.* is for fits without groups"):
            call()


def test_residuals_are_those_of_rows_and_their_envelope_knows_the_groups(panel):
    X, y, who = panel
    model = MoERegressor(2, gate="constant").fit(X, y, groups=who)
    own = np.sort(quantile_residuals(model, X, y).residuals)
    envelope = refitted_envelope(model, X, y, n_draws=39, groups=who)
    inside = (own > envelope.lower) & (own < envelope.upper)
    assert inside.mean() > 0.9
