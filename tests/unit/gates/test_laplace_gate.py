"""`LaplaceGate`: rows go to near centres, and no column makes the gate certain."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose
from scipy import special

import mixexp
from mixexp import EM, L1, L2, LaplaceGate, MoERegressor
from tests.contracts.cases import problem

EXACT = EM(max_passes=3000, tol=1e-14, gradient_tol=1e-9)
CENTRES = np.array([[-1.0, 0.0], [1.5, 1.0], [0.0, -2.0]])
INTERCEPTS = np.array([0.0, 0.5, -0.5])
SCALE = 0.4


def scores(X, spread, K):
    apart = (X[:, None] - CENTRES[:K]) / spread
    return INTERCEPTS[:K] - np.sqrt((apart**2).sum(axis=2) + 0.1**2) / SCALE


def planted(K=3, n=3000, seed=0):
    """Rows of K planes whose experts are drawn by the distance from centres: (X, y, labels)."""
    rng = np.random.default_rng(seed)
    X = rng.uniform(-3, 3, (n, 2))
    prob = special.softmax(scores(X, X.std(axis=0), K), axis=1)
    labels = (rng.random(n)[:, None] > prob.cumsum(axis=1)).sum(axis=1)
    level, slope = np.array([-4.0, 4.0, 12.0])[labels], np.array([-1.0, 1.0, 0.0])[labels]
    return X, level + slope * X[:, 0] + 0.4 * rng.standard_normal(n), labels


@pytest.mark.parametrize("scale", [SCALE, "estimate"])
@pytest.mark.parametrize("K", [2, 3])
def test_planted_centres_are_found(K, scale):
    X, y, labels = planted(K)
    model = MoERegressor(K, gate=LaplaceGate(scale=scale), start=labels).fit(X, y)
    assert model.loglik_ > MoERegressor(K, start=labels).fit(X, y).loglik_ + 20
    assert model.n_free_ == 2 * K + (K - 1) + (scale == "estimate") + 4 * K
    grid = np.stack(np.meshgrid(*[np.linspace(-3, 3, 9)] * 2), axis=-1).reshape(-1, 2)
    truth = special.softmax(scores(grid, X.std(axis=0), K), axis=1)
    assert_allclose(model.gate_proba(grid), truth, atol=0.06)
    found = model.inference(X, y)
    for k in range(K):
        for j in range(2):
            name = f"gate {k}: centre of x{j}"
            assert_allclose(found.params[name], model.gate_centres_[k, j], rtol=1e-9)
            assert abs(found.params[name] - CENTRES[k, j]) < 4 * found.bse[name]
    if scale == "estimate":
        name = "gate: log(scale)"
        assert abs(found.params[name] - np.log(SCALE)) < 4 * found.bse[name]


@pytest.mark.parametrize("seed", [1, 2])
def test_an_estimated_scale_is_never_worse_than_one(seed):
    """Few rows of a softmax gate, where the likelihood draws the scale to zero."""
    case = problem("softmax", "gaussian", seed=seed)
    fixed, free = (
        MoERegressor(2, gate=LaplaceGate(scale), start=case.labels()).fit(case.rows.X, case.y)
        for scale in (1.0, "estimate")
    )
    assert free.loglik_ >= fixed.loglik_ - 1e-7
    assert free.status_.name == ("CONVERGED" if free.gate_scale_ > 0.1 else "SEPARATED")


@pytest.mark.slow
def test_the_search_finds_planted_centres():
    X, y, labels = planted(n=600)
    gate = LaplaceGate(scale=SCALE)
    given = MoERegressor(3, gate=gate, start=labels).fit(X, y)
    search = mixexp.MultiStart(n_starts=0.2, max_rounds=2)
    found = MoERegressor(3, gate=gate, start=search).fit(X, y)
    assert found.loglik_ >= given.loglik_ - 1e-3


def test_odds_are_bounded_by_the_distance_of_the_centres():
    X, y, labels = planted(2, n=600)
    model = MoERegressor(2, gate=LaplaceGate(scale=SCALE), start=labels).fit(X, y)
    apart = (model.gate_centres_[0] - model.gate_centres_[1]) / model.gate_column_scales_
    most = np.linalg.norm(apart) / SCALE + np.abs(np.diff(model.gate_intercept_))[0]
    far = np.random.default_rng(0).standard_normal((50, 2)) * 1e4
    log_odds = np.diff(np.log(model.gate_proba(far)), axis=1)
    assert np.abs(log_odds).max() <= most + 1e-9


def test_a_small_smoothing_is_a_small_change():
    X, y, labels = planted(2, n=600)
    values = [
        MoERegressor(2, gate=LaplaceGate(SCALE, smoothing=h), start=labels).fit(X, y).loglik_
        for h in (0.1, 0.05)
    ]
    assert 0 < abs(values[0] - values[1]) < 1.0


def test_units_change_nothing_and_are_shown():
    X, y, labels = planted(n=600)
    one, other = (
        MoERegressor(3, gate=LaplaceGate(SCALE), start=labels, solver=EXACT).fit(design, y)
        for design in (X, X * [100.0, 0.01] + [5.0, -2.0])
    )
    assert_allclose(other.loglik_, one.loglik_, rtol=1e-10)
    assert_allclose(other.gate_centres_, one.gate_centres_ * [100.0, 0.01] + [5.0, -2.0], rtol=1e-5)
    assert_allclose(other.gate_column_scales_, X.std(axis=0) * [100.0, 0.01], rtol=1e-10)


def test_copies_of_columns_are_left_out_of_the_distance():
    X, y, labels = planted(n=400)
    more = np.column_stack([X, 2 * X[:, 1], np.full(400, 3.0)])
    gate = LaplaceGate(SCALE)
    one, two = (
        MoERegressor(3, gate=gate, start=labels, expert_features=[0, 1]).fit(design, y)
        for design in (X, more)
    )
    assert_allclose(two.loglik_, one.loglik_, rtol=1e-9)
    assert list(two.gate_feature_names_) == ["x0", "x1"]


def test_files_and_summaries_know_the_gate(tmp_path):
    X, y, labels = planted(n=300)
    frame = pd.DataFrame(X, columns=["east", "north"])
    gate = LaplaceGate(scale="estimate", penalty=L2(1e-3))
    model = MoERegressor(3, gate=gate, start=labels).fit(frame, y)
    model.save(tmp_path / "gate.mixexp")
    copy = mixexp.load(tmp_path / "gate.mixexp")
    assert np.array_equal(copy.gate_proba(frame), model.gate_proba(frame))
    assert copy.summary() == model.summary()
    assert "centre of north" in model.summary() and "estimated scale" in model.summary()


@pytest.mark.parametrize(
    ("gate", "says"),
    [
        (LaplaceGate(scale=0.0), "scale > 0 or scale='estimate'"),
        (LaplaceGate(scale="wide"), "scale > 0 or scale='estimate'; got 'wide'"),
        (LaplaceGate(smoothing=0.0), "smoothing > 0; got 0.0"),
        (LaplaceGate(penalty=L1(0.1)), "LaplaceGate takes L2 penalties alone"),
    ],
)
def test_what_the_gate_refuses_it_names(gate, says):
    X, y, labels = planted(n=60)
    with pytest.raises(ValueError, match=says):
        MoERegressor(3, gate=gate, start=labels).fit(X, y)
