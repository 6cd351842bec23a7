"""Residuals, calibration and effects against what they must be."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose
from scipy.sparse import csr_array
from scipy.stats import norm
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LinearRegression

from mixexp import ArrayDataset, MoEClassifier, MoERegressor, intervals, moe
from mixexp.explain import fit_line, gate_surface, partial_effects
from mixexp.explain.calibration import (
    class_calibration,
    normal_envelope,
    pit_histogram,
    residuals_of_cdf,
)
from mixexp.explain.explanation import expert_table, gate_table
from mixexp.explain.residuals import worms
from mixexp.plotting import plot_fit_lines, plot_gate_regions, plot_partial_effects
from mixexp.tables.model import TableModel
from mixexp.tables.prepare import Roles, prepare


@pytest.fixture(scope="module")
def fitted() -> tuple[TableModel, pd.DataFrame]:
    rng = np.random.default_rng(0)
    table = pd.DataFrame({"x": rng.normal(size=60), "kind": rng.choice(["a", "b"], 60)})
    table["y"] = 3 * table["x"] + (table["kind"] == "b") + 0.1 * rng.normal(size=60)
    ready = prepare(table, Roles("y"))
    model = MoERegressor(1).fit(ready.X, ready.y)
    return TableModel(model, ready.preprocessor, "y"), ready.raw


def test_residuals_of_a_continuous_law_invert_it() -> None:
    z = np.linspace(-2, 2, 9)
    found = residuals_of_cdf(norm.cdf(z), norm.cdf(z), z)
    assert_allclose(found.residuals, z, atol=1e-9)


def test_residuals_of_counts_lie_in_their_step_and_are_seeded() -> None:
    low, high = np.array([0.1, 0.5]), np.array([0.4, 0.9])
    first, again = (residuals_of_cdf(high, low, low) for _ in range(2))
    assert np.all((first.uniform >= low) & (first.uniform <= high))
    assert_allclose(first.uniform, again.uniform)


def test_pit_histogram_has_mean_one() -> None:
    found = pit_histogram(np.random.default_rng(0).uniform(size=500))
    assert_allclose(found.share.mean(), 1.0)
    assert found.lower < 1 < found.upper


def test_class_calibration_counts() -> None:
    proba = np.array([[0.9, 0.1], [0.2, 0.8], [0.6, 0.4], [0.3, 0.7]])
    found = class_calibration(proba, ["a", "b", "b", "b"], ["a", "b"], bins=2)
    assert found.confusion.tolist() == [[1, 0], [1, 2]]
    assert found.accuracy == 0.75
    assert_allclose(found.log_loss, -np.log([0.9, 0.8, 0.4, 0.7]).mean())
    assert sum(found.counts[0]) == 4


def test_a_weight_of_two_is_the_row_twice_in_shares_and_means() -> None:
    rng = np.random.default_rng(2)
    u, w = rng.uniform(size=40), np.tile([1.0, 2.0, 3.0, 0.0, 2.0], 8)  # 64 in all
    twice = np.repeat(np.arange(40), w.astype(int))
    weighted, repeated = pit_histogram(u, 10, w), pit_histogram(u[twice], 10)
    assert_allclose(weighted.share, repeated.share)
    assert weighted.upper > repeated.upper  # a heavy row is still one draw
    y = np.where(rng.uniform(size=40) < u, "b", "a")
    proba = np.column_stack([1 - u, u])
    one = class_calibration(proba, y, ["a", "b"], sample_weight=w)
    other = class_calibration(proba[twice], y[twice], ["a", "b"])
    for name in ("predicted", "observed", "counts", "confusion", "log_loss", "accuracy"):
        assert_allclose(getattr(one, name), getattr(other, name), err_msg=name)
    # of equal weights the errors are those without
    same = class_calibration(proba, y, ["a", "b"], sample_weight=np.full(40, 0.3))
    assert_allclose(same.error, class_calibration(proba, y, ["a", "b"]).error)


def test_worms_of_weighted_rows() -> None:
    z = np.random.default_rng(3).normal(size=400)
    found = residuals_of_cdf(norm.cdf(z), norm.cdf(z), z)
    plain, same = worms(found)[0], worms(found, sample_weight=np.full(400, 0.3))[0]
    for name in ("theoretical", "deviation", "lower", "upper", "coefficients"):
        assert_allclose(getattr(same, name), getattr(plain, name), rtol=1e-9, atol=1e-9)
    band = normal_envelope(400)
    assert_allclose(plain.lower + plain.theoretical, band.lower)
    assert_allclose(plain.upper + plain.theoretical, band.upper)
    # rows drawn with weights that lift their mean: the worm of the weighted rows is lifted
    weight = np.exp(0.5 * z)
    assert_allclose(worms(found, sample_weight=weight)[0].coefficients[0], 0.5, atol=0.15)
    twice = np.repeat(np.arange(400), 2 + (z > 0))
    repeated = worms(residuals_of_cdf(norm.cdf(z[twice]), norm.cdf(z[twice]), z[twice]))[0]
    weighted = worms(found, sample_weight=2.0 + (z > 0))[0]
    assert_allclose(weighted.coefficients, repeated.coefficients, atol=0.01)


def test_effect_of_a_linear_model_is_its_line(fitted: tuple[TableModel, pd.DataFrame]) -> None:
    model, raw = fitted
    effects = {effect.name: effect for effect in partial_effects(model, raw)}
    slope = np.diff(effects["x"].mean) / np.diff(effects["x"].grid)
    assert_allclose(slope, model.estimator.coef_[0, 0])
    assert effects["kind"].categorical and not effects["x"].categorical
    assert effects["x"].span > effects["kind"].span


def test_line_holds_the_other_columns(fitted: tuple[TableModel, pd.DataFrame]) -> None:
    model, raw = fitted
    found = fit_line(model, raw, "x")
    assert set(found.held) == {"kind"}
    assert np.all(found.lower < found.mean) and np.all(found.mean < found.upper)


def test_tables_carry_names(fitted: tuple[TableModel, pd.DataFrame]) -> None:
    model, _ = fitted
    found = expert_table(model.estimator)
    assert list(found.index) == ["intercept", "x", "kind=b"]
    assert_allclose(found["expert 1"].iloc[1:], model.estimator.coef_[0])
    assert list(gate_table(model.estimator).index) == ["intercept", "x", "kind=b"]


@pytest.fixture(scope="module")
def frame() -> tuple[pd.DataFrame, np.ndarray]:
    rng = np.random.default_rng(0)
    X = pd.DataFrame(rng.normal(size=(120, 3)), columns=["a", "b", "c"])
    y = np.where(X["a"] > 0, 3 * X["b"], -X["b"]) + 0.1 * rng.normal(size=120)
    return X, y


def test_an_estimator_is_shown_along_its_columns(frame) -> None:
    X, y = frame
    model = MoERegressor(2).fit(X, y)
    found = fit_line(model, X, "a", y=y, size=9)
    at = pd.DataFrame({"a": found.grid, "b": X["b"].median(), "c": X["c"].median()})
    assert_allclose(found.mean, model.predict(at))
    assert_allclose(found.gate, model.gate_proba(at))
    assert_allclose(found.experts, model.predict_experts(at))
    assert_allclose(np.c_[found.lower, found.upper], model.predict_interval(at, level=0.9))
    assert found.component.tolist() == model.responsibilities(X, y).argmax(axis=1).tolist()
    assert len(plot_fit_lines(found).lines)


def test_arrays_and_frames_give_one_picture(frame) -> None:
    X, y = frame
    named, plain = MoERegressor(2).fit(X, y), MoERegressor(2).fit(X.to_numpy(), y)
    surfaces = [
        gate_surface(named, X, ["a", "b"], size=5),
        gate_surface(plain, X.to_numpy(), ["x0", "x1"], size=5),
    ]
    assert_allclose(surfaces[0].gate, surfaces[1].gate)
    assert_allclose(surfaces[0].level, surfaces[1].level)
    assert surfaces[0].component.tolist() == named.gate_proba(X).argmax(axis=1).tolist()
    first, second = partial_effects(named, X), partial_effects(plain, X.to_numpy())
    assert [e.name for e in first] == ["b", "a", "c"] and second[0].name == "x1"
    assert_allclose(first[0].mean, second[0].mean)
    a = X.assign(b=first[0].grid[3])
    assert_allclose(first[0].mean[3], named.predict(a).mean())
    assert plot_gate_regions(surfaces[0]).get_xlabel() == "a"
    assert plot_partial_effects(first[0]).get_xlabel() == "b"
    sparse = fit_line(plain, csr_array(X.to_numpy()), "x2", y=y, size=5)
    assert_allclose(sparse.mean, fit_line(named, X, "c", y=y, size=5).mean)


def test_classes_are_shown_by_their_probabilities(frame) -> None:
    X, y = frame
    labels = np.where(y > 0, "up", "down")
    model = MoEClassifier(2).fit(X, labels)
    found = fit_line(model, X, "b", y=labels, size=5)
    assert found.classes == ("down", "up") and found.mean.shape == (5, 2)
    assert_allclose(found.mean.sum(axis=1), 1)
    assert partial_effects(model, X, size=4)[0].mean.shape == (4, 2)
    found = gate_surface(model, X, ["a", "b"], y=labels, size=4)
    assert found.best_class.shape == (4, 4) and found.y_range is None
    assert found.component.tolist() == model.responsibilities(X, labels).argmax(axis=1).tolist()


@pytest.mark.parametrize("role", ["exposure", "trials", "offset", "groups"])
def test_inputs_of_the_fit_decide_what_is_seen_of_the_rows(frame, role) -> None:
    """Responsibilities use them, and targets are shown per unit."""
    X, y = frame
    rng = np.random.default_rng(1)
    family = {"exposure": "poisson", "trials": "binomial"}.get(role, "gaussian")
    units = rng.integers(5, 40, len(y)).astype(float)
    if role == "exposure":
        y = rng.poisson(units * np.exp(np.where(X["a"] > 0, 1.0, -1.0)))
    elif role == "trials":
        y = rng.binomial(units.astype(int), np.where(X["a"] > 0, 0.8, 0.3))
    given = {"groups": np.repeat(np.arange(40), 3)} if role == "groups" else {role: units}
    gate = "constant" if role == "groups" else "softmax"
    model = MoERegressor(2, expert=family, gate=gate).fit(X, y, **given)
    found = fit_line(model, X, "a", y=y, **given)
    own = model.responsibilities(X, y, **given).argmax(axis=1)
    assert found.component.tolist() == own.tolist()
    if role == "offset":
        assert found.y is None
    else:
        assert_allclose(found.y, y if role == "groups" else y / units)
    surface = gate_surface(model, X, ["a", "b"], y=y, size=4, **given)
    assert surface.component.tolist() == own.tolist()
    wanted = None if found.y is None else (found.y.min(), found.y.max())
    assert surface.y_range == wanted


def test_rows_known_as_intervals_have_a_colour_and_no_place(frame) -> None:
    X, y = frame
    rounded = intervals(np.floor(y), np.floor(y) + 1)
    model = MoERegressor(2).fit(X, rounded)
    found = fit_line(model, X, "b", y=rounded)
    assert found.y is None
    assert found.component.tolist() == model.responsibilities(X, rounded).argmax(axis=1).tolist()


def test_a_table_model_takes_targets_too(fitted) -> None:
    model, raw = fitted
    y = 3 * raw["x"].to_numpy()
    assert fit_line(model, raw, "x", y=y).component.tolist() == [0] * len(raw)
    with pytest.raises(TypeError, match="data frame of raw columns; got ndarray"):
        fit_line(model, raw.to_numpy(), "x")


@pytest.mark.parametrize("gate", ["softmax", "constant"])
def test_of_many_columns_those_with_the_strongest_slopes_are_shown(gate) -> None:
    rng = np.random.default_rng(0)
    X = rng.normal(size=(150, 45))
    y = 2 * X[:, 44] + 0.1 * rng.normal(size=150)
    found = partial_effects(MoERegressor(1, gate=gate).fit(X, y), X, limit=3)
    assert len(found) == 3 and found[0].name == "x44"


def test_what_cannot_be_shown_is_refused_in_words(frame) -> None:
    X, y = frame
    model = MoERegressor(2).fit(X, y)
    with pytest.raises(ValueError, match="no column 'd'.*'a', 'b', 'c'"):
        fit_line(model, X, "d")
    with pytest.raises(ValueError, match="got LinearRegression"):
        partial_effects(LinearRegression().fit(X, y), X)
    with pytest.raises(ValueError, match="got FormulaMoE"):
        fit_line(moe("y ~ a | b", X.assign(y=y), n_experts=2), X, "a")
    with pytest.raises(ValueError, match="fitted to a matrix"):
        fit_line(MoERegressor(2).fit(X, np.c_[y, y]), X, "a")
    for names in (["a"], ["a", "a"], ["a", "b", "c"], "ab"):
        with pytest.raises(ValueError, match="two different columns"):
            gate_surface(model, X, names)
    with pytest.raises(ValueError, match="inconsistent numbers"):
        fit_line(model, X, "a", y=y[:5], component=np.zeros(120))
    with pytest.raises(ValueError, match="rows must be at least one"):
        partial_effects(model, X, rows=0)
    with pytest.raises(NotFittedError):
        partial_effects(MoERegressor(2), X)
    with pytest.raises(ValueError, match="rows in memory; got ArrayDataset"):
        fit_line(model, ArrayDataset(X, y), "a")
    with pytest.raises(ValueError, match="feature names"):
        fit_line(model, X[["a", "b"]], "a")
    with pytest.raises(TypeError, match="mixexp.explain.fit_line gives"):
        plot_fit_lines(model)
