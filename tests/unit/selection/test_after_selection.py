"""Tests of the number of experts, and standard errors after a choice of columns."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from mixexp import L1, GaussianExpert, MoERegressor, MultiStart, SoftmaxGate
from mixexp.selection import bootstrap_lrt, split_inference

QUICK = MultiStart(n_starts=0.1, max_rounds=1)


@pytest.mark.slow
def test_the_number_of_experts_is_tested_by_the_bootstrap():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(120, 1))
    one = 1 + X[:, 0] + rng.normal(size=120)
    two = np.where(rng.random(120) < 0.5, 3 * X[:, 0] + 3, -3 * X[:, 0]) + 0.5 * rng.normal(
        size=120
    )
    model = MoERegressor(1, gate="constant", start=QUICK)
    false, true = (bootstrap_lrt(model, X, y, n_boot=19) for y in (one, two))
    assert false.pvalue > 0.05
    assert true.pvalue == pytest.approx(1 / 20)
    assert true.detail["statistics"].shape == (19,)
    assert true.detail["logliks"][1] > true.detail["logliks"][0]
    with pytest.raises(ValueError, match="n_boot"):
        bootstrap_lrt(model, X, one, n_boot=2)


@pytest.mark.slow
def test_standard_errors_after_a_choice_are_of_other_rows():
    rng = np.random.default_rng(1)
    X = pd.DataFrame(rng.normal(size=(800, 6)), columns=list("abcdef"))
    first = rng.random(800) < 1 / (1 + np.exp(-2 * X["a"]))
    y = np.where(first, 2 + 2 * X["b"], -2 - 2 * X["c"]) + 0.5 * rng.normal(size=800)
    penalised = MoERegressor(
        2,
        gate=SoftmaxGate(penalty=L1(0.03)),
        expert=GaussianExpert(penalty=L1(0.05)),
        start=QUICK,
    )
    found = split_inference(penalised, X, y)
    assert set(found.chosen_on).isdisjoint(found.estimated_on)
    assert len(found.chosen_on) + len(found.estimated_on) == 800
    assert {"b", "c"} <= set(found.expert_features)
    assert "a" in found.gate_features
    assert len(found.expert_features) < 6
    names = [name for name in found.result.names if name.endswith(": b")]
    z = (found.result.params[names].abs() - [0, 2]).abs() / found.result.bse[names]
    z_other = (found.result.params[names].abs() - [2, 0]).abs() / found.result.bse[names]
    assert min(z.max(), z_other.max()) < 4
    positions = split_inference(penalised, X.to_numpy(), y)
    assert len(positions.expert_features) == len(found.expert_features)
    with pytest.raises(ValueError, match="share"):
        split_inference(penalised, X, y, share=1.0)
