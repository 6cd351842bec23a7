"""All checks of a fit at once: the parts are those of the single functions, or are refused."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from mixexp import (
    L2,
    ArrayDataset,
    ContextualMoERegressor,
    MoEClassifier,
    MoERegressor,
    SoftmaxGate,
    intervals,
    moe,
)
from mixexp.explain import (
    diagnose,
    gate_calibration,
    influence,
    leverage,
    pit_histogram,
    quantile_residuals,
    row_uncertainty,
)
from mixexp.plotting import plot_gate_calibration, plot_uncertainty


@pytest.fixture(scope="module")
def rows():
    rng = np.random.default_rng(3)
    X = pd.DataFrame(rng.normal(size=(160, 2)), columns=["u", "v"])
    first = rng.random(160) < 1 / (1 + np.exp(-1.5 * X["u"]))
    y = np.where(first, 1 + 2 * X["u"], -1 - X["v"]) + 0.6 * rng.normal(size=160)
    return X, y


@pytest.fixture(scope="module")
def fitted(rows):
    X, y = rows
    return MoERegressor(2).fit(X, y)


def test_parts_are_those_of_the_single_functions(rows, fitted):
    X, y = rows
    found = diagnose(fitted, X, y)
    assert not found.refused
    assert_array_equal(found.inference.bse, fitted.inference(X, y).bse)
    assert_array_equal(found.residuals.residuals, quantile_residuals(fitted, X, y).residuals)
    assert_array_equal(found.influence.cook, influence(fitted, X, y).cook)
    assert_array_equal(found.leverage.hat, leverage(fitted, X, y).hat)
    assert_array_equal(found.gate.posterior, gate_calibration(fitted, X, y).posterior)
    assert_array_equal(found.uncertainty.entropy, row_uncertainty(fitted, X, y).entropy)
    assert found.pit.share.mean() == pytest.approx(1)
    assert_allclose(found.worm.deviation.mean(), found.residuals.residuals.mean(), atol=1e-8)
    assert "inference" in str(found).splitlines()[0]


def test_weights_are_those_of_the_fit(rows):
    X, y = rows
    w = np.where(np.arange(len(y)) % 3 == 0, 2.0, 1.0)
    twice = np.repeat(np.arange(len(y)), w.astype(int))
    model = MoERegressor(2).fit(X, y, w)
    weighted = diagnose(model, X, y, sample_weight=w)
    repeated = diagnose(model, X.iloc[twice], y[twice])
    assert_allclose(weighted.inference.bse, repeated.inference.bse, rtol=1e-6)
    assert_allclose(weighted.uncertainty.total_entropy, repeated.uncertainty.total_entropy)
    assert_allclose(weighted.leverage.n_coefficients, repeated.leverage.n_coefficients)
    values = weighted.residuals.uniform
    bars = len(weighted.pit.share)
    assert_allclose(weighted.pit.share, pit_histogram(values[twice], bars).share)
    assert_allclose(weighted.worm.coefficients, repeated.worm.coefficients, atol=0.02)
    assert "count every row once" in str(weighted) and not repeated.notes


def test_class_calibration_has_the_weights(rows):
    X, y = rows
    kind = np.where(y > 0, "high", "low")
    w = np.where(np.arange(len(y)) % 4 == 0, 2.0, 1.0)
    twice = np.repeat(np.arange(len(y)), w.astype(int))
    model = MoEClassifier(1).fit(X, kind, w)
    weighted = diagnose(model, X, kind, sample_weight=w).classes
    repeated = diagnose(model, X.iloc[twice], kind[twice]).classes
    assert_array_equal(weighted.confusion, repeated.confusion)
    for name in ("predicted", "observed", "log_loss", "accuracy"):
        assert_allclose(getattr(weighted, name), getattr(repeated, name))


def test_a_penalised_fit_says_why_it_has_no_standard_errors(rows):
    X, y = rows
    found = diagnose(MoERegressor(2, gate=SoftmaxGate(penalty=L2(0.01))).fit(X, y), X, y)
    assert found.inference is None
    assert "The gate carries the penalty" in found.refused["inference"]
    assert found.influence is not None and found.gate is not None


def test_many_rows_leave_out_what_takes_long(rows, fitted):
    X, y = rows
    found = diagnose(fitted, X, y, most_rows=100)
    assert found.influence is None and found.leverage is None and found.inference is not None
    assert "beyond 100 rows" in found.refused["influence"]
    assert "mixexp.explain.leverage(model, X, y)" in found.refused["leverage"]


def test_one_expert_has_no_gate(rows):
    X, y = rows
    found = diagnose(MoERegressor(1).fit(X, y), X, y)
    assert found.gate is None and found.uncertainty is None and not found.refused
    assert_allclose(found.leverage.n_coefficients, 3)


def test_classes_have_their_calibration(rows):
    X, y = rows
    kind = np.where(y > 0, "high", "low")
    found = diagnose(MoEClassifier(2, gate=SoftmaxGate(penalty=L2(0.01))).fit(X, kind), X, kind)
    assert found.classes.confusion.sum() == len(kind)
    assert found.residuals is None and found.leverage is None
    assert "The gate carries the penalty" in found.refused["inference"]


def test_groups_are_units_of_standard_errors(rows):
    X, y = rows
    groups = np.repeat(np.arange(40), 4)
    model = MoERegressor(2, gate="constant").fit(X, y, groups=groups)
    found = diagnose(model, X, y, groups=groups)
    assert_array_equal(found.inference.bse, model.inference(X, y, groups=groups).bse)
    assert found.residuals is not None and found.uncertainty is not None
    assert {"gate", "influence", "leverage"} == set(found.refused)


def test_a_formula_is_diagnosed_on_its_design(rows):
    X, y = rows
    frame = X.assign(y=y)
    frame.loc[4, "u"] = np.nan
    model = moe("y ~ u + v | u", frame, n_experts=2)
    found = model.diagnose(frame)
    assert_array_equal(found.inference.bse, model.inference(frame).bse)
    assert len(found.influence.cook) == len(frame) - 1


def test_contexts_are_called_by_their_names(rows):
    X, y = rows
    model = ContextualMoERegressor(["idle", "load"]).fit(X, y)
    found = diagnose(model, X, y)
    assert list(found.uncertainty.experts.index) == ["idle", "load"]
    assert list(found.leverage.experts.index) == ["idle", "load"]
    names = found.inference.names
    assert names[0] == "gate load vs idle: (intercept)"
    assert {"idle: u", "load: v", "load: log(std. deviation)"} <= set(names)
    assert found.inference.wald_test("`idle: u` = `load: u`").pvalue < 1e-3
    assert model.inference(X, y, hold=["idle: u"]).held == ["idle: u"]
    columns = set(found.influence.change)
    assert {"gate idle: u", "load: v", "load: dispersion"} <= columns
    for ax in (plot_gate_calibration(found.gate), plot_uncertainty(found.uncertainty)):
        texts = [text.get_text() for text in ax.get_legend().get_texts()]
        assert texts == ["idle", "load"]


def test_the_histogram_of_certainty_holds_every_row(rows, fitted):
    X, y = rows
    found = row_uncertainty(fitted, X, y)
    ax = plot_uncertainty(found)
    heights = [sum(patch.get_height() for patch in part) for part in ax.containers]
    assert sum(heights) == len(y)
    assert_allclose(heights, found.experts["rows"])


def test_residuals_of_intervals_are_normal_where_the_law_holds():
    """Censored, rounded and truncated rows; ignoring the truncation is seen."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(1500, 1))
    y = np.exp(1 + 0.5 * x[:, 0] + 0.5 * rng.normal(size=1500))
    x, y = x[y > 2], y[y > 2]
    upper = np.where(y > 8, np.inf, y)
    known = intervals(np.minimum(y, 8.0), upper, truncated_below=2.0)
    model = MoERegressor(1, expert="lognormal").fit(x, known)
    found = quantile_residuals(model, x, known)
    assert found.p_value > 0.05
    assert diagnose(model, x, known).residuals.p_value == found.p_value
    naive = quantile_residuals(model, x, intervals(np.minimum(y, 8.0), upper))
    assert naive.p_value < 1e-6


def test_residuals_of_values_as_intervals_are_those_of_the_values(rows):
    X, y = rows
    model = MoERegressor(2).fit(X, intervals(y))
    one, two = (quantile_residuals(model, X, target).residuals for target in (y, intervals(y)))
    assert_allclose(one, two, atol=1e-12)
    with pytest.raises(TypeError, match="needs one value for every row"):
        model.cdf(X, intervals(y))


def test_rows_that_are_not_given_or_not_in_memory_are_refused_in_words(rows):
    X, y = rows
    model = MoERegressor(2).fit(X, y)
    with pytest.raises(ValueError, match=r"call inference\(X, y\)"):
        model.inference()
    with pytest.raises(ValueError, match="needs y"):
        diagnose(model, X)
    with pytest.raises(ValueError, match="rows in memory; got ArrayDataset"):
        diagnose(model, ArrayDataset(X, y))
