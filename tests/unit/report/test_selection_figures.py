"""Figures of the choice of a model show what the results hold."""

from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose

from mixexp.em.summary import FitSummary
from mixexp.plotting import plot_criterion_curves, plot_dendrogram, plot_jump, plot_slope
from mixexp.report.figures import svg
from mixexp.selection import MergePath, SlopeHeuristic, criteria_table

COMPLEXITY = np.arange(5.0, 105.0, 5.0)
CONTRAST = np.maximum(0, 1 - COMPLEXITY / 40) ** 2 - 0.001 * COMPLEXITY


@pytest.fixture
def ax():
    figure, axes = plt.subplots()
    yield axes
    plt.close(figure)


def marked(ax):
    """Position of the ring."""
    ring = next(line for line in ax.lines if line.get_label() == "chosen")
    return ring.get_xdata()[0], ring.get_ydata()[0]


def test_line_of_the_slope_goes_through_its_models(ax) -> None:
    found = SlopeHeuristic().of(COMPLEXITY, CONTRAST)
    assert plot_slope(found, ax=ax) is ax
    assert marked(ax) == (COMPLEXITY[found.chosen], -CONTRAST[found.chosen])
    line = next(line for line in ax.lines if line.get_label().startswith("slope"))
    inside = ~np.isnan(line.get_ydata())
    assert inside.sum() == len(found.table.order) - found.line
    assert_allclose(np.diff(line.get_ydata()[inside]) / 5.0, found.kappa_hat)


def test_plateau_is_named_and_shown(ax) -> None:
    found = SlopeHeuristic().of(COMPLEXITY, CONTRAST)
    plot_slope(found, "plateau", ax)
    assert ax.get_title(loc="left").startswith(f"{100 * found.share:.0f} % select complexity 40")
    with pytest.raises(ValueError, match="'line' or 'plateau'"):
        plot_slope(found, "x", ax)


@pytest.mark.parametrize("area", [0.0, 0.1])
def test_jump_shows_its_choice(ax, area) -> None:
    found = SlopeHeuristic("djump", area=area).of(COMPLEXITY, CONTRAST)
    plot_jump(found, ax)
    assert marked(ax) == (found.kappa_opt, COMPLEXITY[found.chosen])
    names = ax.get_legend_handles_labels()[1]
    assert ("jump area" in names) == (area > 0)
    assert ax.get_xlim()[1] > found.kappa_opt


def test_curves_are_distances_and_name_their_choice(ax) -> None:
    fits = [
        FitSummary(-300 * g, int(c), 300.0, 1.0, 0.5, k)
        for k, (c, g) in enumerate(zip(COMPLEXITY, CONTRAST, strict=True), start=1)
    ]
    table = criteria_table(fits)
    plot_criterion_curves(table, ["AIC", "BIC", "mBIC"], ax)
    names = ax.get_legend_handles_labels()[1]
    best = {name: int(table["n_experts"][table[name].idxmin()]) for name in ("AIC", "BIC")}
    assert names == [f"AIC: {best['AIC']}", f"BIC, mBIC: {best['BIC']}"]
    curve = ax.lines[0].get_ydata()
    assert_allclose(curve, table["AIC"] - table["AIC"].min())
    assert svg(lambda axes: plot_criterion_curves(table, ax=axes))


def test_leaves_of_the_dendrogram_are_the_experts(ax) -> None:
    path = MergePath(
        "measure", np.array([3, 2, 1]), np.array([[0, 2], [1, 3]]), np.array([0.5, 4.0]),
        np.array([0.2, 0.5, 0.3]), np.zeros(3), np.zeros(3), np.array([1.0, 0.0]), 2,
        np.full((4, 3), 1 / 3),
    )  # fmt: skip
    plot_dendrogram(path, ax)
    texts = {tick.get_text() for tick in ax.get_xticklabels()}
    assert texts == {"1\n20 %", "2\n50 %", "3\n30 %"}
    assert ax.get_legend_handles_labels()[1] == ["2 experts chosen"]
    cut = next(line for line in ax.lines if line.get_label() == "2 experts chosen")
    assert 0.5 < cut.get_ydata()[0] < 4.0
    assert pd.Series(path.linkage[:, 2]).is_monotonic_increasing
