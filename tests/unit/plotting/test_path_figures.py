"""Figures of paths and of stability selection show what the results hold."""

from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from mixexp import MoEClassifier, MoEPath, MoERegressor, StabilitySelection
from mixexp.plotting import plot_path, plot_path_curves, plot_path_surface, plot_stability
from mixexp.plotting._style import spread_apart
from tests.unit.selection.path.planted import FEW, planted, small_path

NAMES = ["where", "up", "down", "$noise", "noise 2", "noise 3"]


@pytest.fixture(scope="module")
def data():
    X, y = planted(120, 6)
    return pd.DataFrame(X, columns=NAMES), y


@pytest.fixture(scope="module")
def result(data):
    return small_path(penalties_expert=7, ratio=0.1, cv=3).fit(*data).result_


@pytest.fixture(scope="module")
def grid(data):
    settings = {"penalties_expert": 4, "penalties_gate": 3, "searches": 0, "ratio": 0.2}
    return small_path(**settings).fit(*data).result_


@pytest.fixture(scope="module")
def stability(data):
    template = MoERegressor(2, start=FEW)
    settings = {"n_pairs": 3, "penalties_expert": 5, "searches": 0, "max_columns": 3}
    return StabilitySelection(template, **settings).fit(*data).result_


@pytest.fixture(autouse=True)
def closed():
    yield
    plt.close("all")


def lines_of(ax):
    """Drawn lines by name; markers and reference lines have names of their own or none."""
    return {line.get_label(): line for line in ax.lines if len(line.get_xdata()) > 2}


def texts_of(ax):
    return {text.get_text() for text in ax.texts}


def test_panels_show_the_slopes_of_each_part(result):
    axs = plot_path(result)
    titles = [ax.get_title(loc="left") for ax in axs]
    assert titles == ["Expert 1", "Expert 2", "Gate: expert 2 against 1"]
    x = np.log10(result.table["alpha_expert"])
    for k in range(2):
        lines = lines_of(axs[k])
        used = [NAMES[j] for j in np.flatnonzero(result.support[:, k].any(axis=0))]
        assert set(lines) == set(used)
        for name, line in lines.items():
            j = NAMES.index(name)
            assert_allclose(line.get_xdata(), x)
            assert_allclose(
                line.get_ydata(), result.coef[:, k, j] * result.column_scale["expert"][j]
            )
    odds = result.gate_coef[:, 1, 0] - result.gate_coef[:, 0, 0]
    drawn = lines_of(axs[2])["where"].get_ydata()
    assert_allclose(drawn, odds * result.column_scale["gate"][0])
    left, right = axs[0].get_xlim()
    assert left > right  # strong on the left
    assert axs[0].get_ylim() == axs[1].get_ylim()


def test_lines_are_named_at_their_ends(result):
    axs = plot_path(result, most=3)
    last = result.support[-1]
    tones = {}
    for ax, own in zip(axs[:2], last, strict=True):
        assert texts_of(ax) <= {NAMES[j] for j in np.flatnonzero(own)}
        for text in ax.texts:
            assert not text.get_parse_math()
            assert tones.setdefault(text.get_text(), text.get_color()) == text.get_color()
    assert {"up", "down"} <= set(tones)
    assert len(tones) <= 3


@pytest.mark.parametrize("choice", ["bic", "cv", 2])
def test_the_chosen_fit_is_marked(result, choice):
    place = choice if choice == 2 else result.best(choice)
    axs = plot_path(result, choice, standardised=False)
    for ax in axs:
        mark = next(line for line in ax.lines if line.get_label() == "chosen")
        assert_allclose(mark.get_xdata(), np.log10(result.table["alpha_expert"][place]))
        zero = next(line for line in ax.lines if line.get_label() == "zero")
        assert_array_equal(zero.get_ydata(), 0)
    dots = {line.get_ydata()[0] for line in axs[0].lines if line.get_marker() == "o"}
    assert_allclose(sorted(dots), np.sort(result.coef[place, 0][result.support[place, 0]]))


def test_a_grid_shows_the_chain_of_its_choice(grid):
    axs = plot_path(grid)
    best = grid.best("bic")
    own = grid.table["chain"] == grid.table["chain"][best]
    line = next(iter(lines_of(axs[-1]).values()))
    assert len(line.get_xdata()) == own.sum()
    assert_allclose(line.get_xdata(), np.log10(grid.table["alpha_expert"][own]))


def test_own_axes(result):
    figure, own = plt.subplots(1, 3)
    assert list(plot_path(result, axs=own)) == list(own)
    with pytest.raises(ValueError, match="axs must be 3 axes, one for each panel; got 2"):
        plot_path(result, axs=own[:2])


def test_classes_and_three_experts_have_panels_of_their_own(data):
    X, y = data
    settings = {"penalties_expert": [0.05], "searches": 0}
    three = MoEPath(MoERegressor(3, start=FEW), **settings).fit(X, y).result_
    titles = [ax.get_title(loc="left") for ax in plot_path(three)]
    assert titles == [
        *(f"Expert {k}" for k in (1, 2, 3)),
        *(f"Gate: expert {k}" for k in (1, 2, 3)),
    ]
    plain = MoEPath(MoERegressor(2, gate="constant", start=FEW), **settings).fit(X, y).result_
    assert [ax.get_title(loc="left") for ax in plot_path(plain)] == ["Expert 1", "Expert 2"]
    labels = np.where(y > 0, "yes", "no")
    two = MoEPath(MoEClassifier(1, start=FEW), **settings).fit(X, labels).result_
    axs = plot_path(two)
    assert [ax.get_title(loc="left") for ax in axs] == ["Expert 1: yes against no"]
    dots = sorted(line.get_ydata()[0] for line in axs[0].lines if line.get_marker() == "o")
    odds = (two.coef[0, 0, 1] - two.coef[0, 0, 0]) * two.column_scale["expert"]
    assert_allclose(dots, np.sort(odds[odds != 0]))
    labels = np.digitize(y, [-1, 1])
    many = MoEPath(MoEClassifier(1, start=FEW), **settings).fit(X, labels).result_
    titles = [ax.get_title(loc="left") for ax in plot_path(many)]
    assert titles == ["Expert 1: 0", "Expert 1: 1", "Expert 1: 2"]


def test_criteria_are_distances_to_their_best(result):
    ax = plot_path_curves(result)
    curves = lines_of(ax)
    own = next(line for name, line in curves.items() if "BIC" in name.split(", "))
    regular = result.table["regular"]
    gap = result.table["bic"] - result.table["bic"][regular].min()
    assert_allclose(own.get_ydata(), np.where(regular, gap, np.nan))
    dots = [line for line in ax.lines if line.get_marker() == "o"]
    assert len(dots) == len(curves)
    x = np.log10(result.table["alpha_expert"][result.best("bic")])
    assert any(np.allclose(dot.get_xdata(), x) for dot in dots)
    assert set(lines_of(plot_path_curves(result, criteria=["icl"]))) == {"icl"}


def test_held_out_curve_has_its_band_and_its_marks(result):
    ax = plot_path_curves(result, "cv")
    table = result.table
    assert_allclose(ax.lines[0].get_ydata(), table["cv_loglik"])
    band = ax.collections[0].get_paths()[0].vertices[:, 1]
    assert_allclose(band.max(), (table["cv_loglik"] + table["cv_se"]).max())
    marks = {line.get_label(): line for line in ax.lines}
    for name, place in (
        ("chosen", result.best("cv")),
        ("fewest parameters within one error", result.best("cv", one_se=True)),
    ):
        assert marks[name].get_ydata()[0] == table["cv_loglik"][place]
        assert marks[name].get_xdata()[0] == np.log10(table["alpha_expert"][place])


def test_sizes(result):
    lines = lines_of(plot_path_curves(result, "size"))
    assert_array_equal(lines["free parameters"].get_ydata(), result.table["n_free"])
    assert_array_equal(lines["columns in the gate"].get_ydata(), result.table["n_gate"])


def test_surface_shows_every_fit_and_marks_the_best(grid):
    ax = plot_path_surface(grid)
    cells = ax.collections[0].get_array()
    assert cells.shape == (3, 4)
    best = grid.best("bic")
    gap = grid.table["bic"] - grid.table["bic"][best]
    assert_allclose(cells.filled(np.nan).ravel(), np.sqrt(np.maximum(gap, 0)), atol=1e-6)
    ring = next(line for line in ax.lines if line.get_label() == "chosen")
    place = ring.get_xdata()[0], ring.get_ydata()[0]
    line = grid.table.loc[best]
    assert_allclose(place, np.log10([line["alpha_expert"], line["alpha_gate"]]))


def test_figures_that_a_result_cannot_give(result, grid):
    with pytest.raises(ValueError, match="needs a grid of two dimensions"):
        plot_path_surface(result)
    with pytest.raises(ValueError, match="needs a path with folds"):
        plot_path_curves(grid, "cv", choice="bic")
    with pytest.raises(ValueError, match="kind must be 'criteria', 'cv' or 'size'"):
        plot_path_curves(result, "aic")


def test_frequencies_over_the_path(stability):
    ax = plot_stability(stability)
    lines = lines_of(ax)
    for j, name in enumerate(stability.names["any"]):
        share = stability.frequency["any"][:, j]
        assert (f"_{name}" in lines) == share.any()
        if share.any():
            assert_allclose(lines[f"_{name}"].get_ydata(), share)
    assert texts_of(ax) == set(stability.selected()) != set()
    level = next(line for line in ax.lines if line.get_label() == "threshold 0.75")
    assert_array_equal(level.get_ydata(), 0.75)
    assert ax.get_title(loc="left").startswith(f"{len(stability.selected())} selected")


def test_bars_are_the_largest_frequencies(stability):
    ax = plot_stability(stability, "bars", most=4)
    names = [tick.get_text() for tick in ax.get_yticklabels()]
    wanted = stability.table["any"].sort_values(ascending=False, kind="stable").head(4)
    assert names == list(wanted.index)
    assert_allclose([bar.get_width() for bar in ax.patches], wanted)
    strong = {bar.get_facecolor() for bar in ax.patches[: len(stability.selected())]}
    assert len(strong) == 1
    assert ax.get_legend_handles_labels()[1] == ["expert 1", "expert 2", "gate", "threshold 0.75"]
    gate = plot_stability(stability, "bars", "gate")
    assert gate.patches[0].get_width() == stability.table["gate"].max()
    with pytest.raises(ValueError, match="'path' or 'bars'"):
        plot_stability(stability, "x")
    with pytest.raises(ValueError, match="part must be"):
        plot_stability(stability, part="x")


def test_names_are_spread_apart_and_keep_their_order():
    given = np.array([0.0, 1.0, 0.1, 0.05])
    out = spread_apart(given, 0.2)
    assert_array_equal(np.argsort(out), np.argsort(given))
    assert np.diff(np.sort(out)).min() >= 0.2 - 1e-12
    assert out[1] == 1.0  # far from the others, and not moved
    assert_allclose(out[[0, 2, 3]].mean(), given[[0, 2, 3]].mean())
