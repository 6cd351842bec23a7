"""Grids whose likelihoods have no common unit are refused before any fit."""

from __future__ import annotations

import numpy as np
import pytest

from mixexp import MoERegressor, MultiStart, SelectionStudy
from mixexp.selection.study import study as module


@pytest.fixture
def data():
    rng = np.random.default_rng(0)
    X = rng.uniform(-1, 1, (60, 1))
    return X, np.abs(X[:, 0]).round(1) * 10 + rng.integers(0, 3, 60)


@pytest.fixture
def no_fits(monkeypatch):
    def refuse(*arguments):
        raise AssertionError("a fit was made")

    monkeypatch.setattr(module, "run_chain", refuse)


def study(grid, criterion="bic", cv=None):
    template = MoERegressor(start=MultiStart(n_starts=0.1, max_rounds=1))
    return SelectionStudy(template, {"n_experts": [1, 2], **grid}, criterion, cv=cv)


@pytest.mark.usefixtures("no_fits")
def test_counts_and_continuous_targets(data):
    with pytest.raises(ValueError, match=r"count family .*poisson.* continuous one .*gaussian"):
        study({"expert": ["gaussian", "poisson"]}).fit(*data)


@pytest.mark.usefixtures("no_fits")
def test_gates_with_and_without_a_model_of_x(data):
    with pytest.raises(ValueError, match=r"models x .*gaussian.* criterion='cv'"):
        study({"gate": ["softmax", "gaussian"]}).fit(*data)


def test_held_out_densities_of_y_compare_all_gates(data):
    found = study({"gate": ["softmax", "gaussian"]}, "cv", cv=2).fit(*data).result_
    assert found.table["cv_loglik"].notna().all()
    assert any("those of (x, y)" in note for note in found.notes)
    # one expert is the same model of y given x under any gate
    single = found.table[found.table["n_experts"] == 1]
    np.testing.assert_allclose(single["cv_loglik"], single["cv_loglik"].iloc[0])
    assert single["bic"].nunique() == 2
