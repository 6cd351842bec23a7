"""Figures with hostile texts, and pieces of HTML."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from mixexp.explain.calibration import class_calibration, pit_histogram, residuals_of_cdf
from mixexp.explain.effects import Line, PartialEffect, Surface
from mixexp.plotting import (
    plot_calibration,
    plot_fit_lines,
    plot_gate_regions,
    plot_partial_effects,
    plot_residuals,
)
from mixexp.plotting._style import plain
from mixexp.report.figures import figure, svg
from mixexp.report.html import esc, frame, number, page, table

HOSTILE = ["$x_1$", "$\\frac{", "<script>", "_hidden", "a\nb\tc", "x" * 300, "$", "%s {0}"]
GRID = np.linspace(0, 1, 5)
HALF = np.full((5, 2), 0.5)


@pytest.mark.parametrize("name", HOSTILE)
def test_any_name_can_be_drawn(name: str) -> None:
    line = Line(
        name, GRID, GRID, HALF, {}, GRID - 1, GRID + 1, np.column_stack([GRID, GRID]), GRID, GRID,
        np.zeros(5, int),
    )  # fmt: skip
    classes = Line(name, GRID, HALF, HALF, {}, classes=(name, "other"))
    names = PartialEffect(name, np.array([name, "b"]), GRID[:2], HALF[:2], 1.0)
    for draw in (
        lambda ax: plot_fit_lines(line, name, ax),
        lambda ax: plot_fit_lines(classes, name, ax),
        lambda ax: plot_gate_regions(line, "gate", ax),
        lambda ax: plot_partial_effects(names, name, ax),
        lambda ax: plot_gate_regions(names, "gate", ax),
    ):
        assert svg(draw).startswith(b"<?xml")


@pytest.mark.parametrize("kind", ["gate", "level"])
@pytest.mark.parametrize("classes", [(), ("$a", "b")])
def test_planes_are_drawn(kind: str, classes: tuple[str, ...]) -> None:
    gate = np.full((5, 5, 2), 0.5)
    best = np.zeros((5, 5), int) if classes else None
    plane = Surface(
        ("$a", "b"), (GRID, GRID), gate, np.outer(GRID, GRID), best, np.zeros((3, 2)),
        np.array([0, 1, 0]), classes, {}, (0.0, 1.0),
    )  # fmt: skip
    assert svg(lambda ax: plot_gate_regions(plane, kind, ax))


def test_checks_are_drawn() -> None:
    uniform = np.random.default_rng(0).uniform(size=50)
    residuals = residuals_of_cdf(uniform, uniform, uniform)
    assert svg(lambda ax: plot_residuals(residuals, "qq", ax))
    assert svg(lambda ax: plot_residuals(residuals, "fitted", ax))
    assert svg(lambda ax: plot_calibration(pit_histogram(uniform), ax))
    proba = np.column_stack([uniform, 1 - uniform])
    classes = class_calibration(proba, np.where(uniform > 0.5, "$a", "b"), ["$a", "b"])
    assert svg(lambda ax: plot_calibration(classes, ax))


def test_a_figure_is_the_same_in_every_run_and_has_a_text() -> None:
    first, again = (figure(lambda ax: ax.plot([1, 2]), 'a "b" <c>') for _ in range(2))
    assert first == again
    assert 'alt="a &quot;b&quot; &lt;c&gt;"' in first


def test_drawing_needs_no_display_and_keeps_the_backend() -> None:
    import matplotlib

    before = matplotlib.get_backend()
    svg(lambda ax: ax.plot([1, 2]))
    assert matplotlib.get_backend() == before


@pytest.mark.parametrize(
    ("text", "shown"), [("a\n b\x00", "a b"), ("_x", " _x"), ("x" * 40, "x" * 31 + "\u2026")]
)
def test_plain_texts(text: str, shown: str) -> None:
    assert plain(text) == shown


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (1234.5678, "1235"), (-0.012345, "\u22120.01235"), (0.0, "0"), (np.nan, "\u2013"),
        (np.inf, "\u221e"), (-3, "\u22123"), (True, "yes"), (1.5e-9, "1.500e\u221209"),
        (None, "\u2013"),
    ],
)  # fmt: skip
def test_numbers(value: object, shown: str) -> None:
    assert number(value) == shown


def test_tables_escape_names() -> None:
    data = pd.DataFrame({"<b>": [1.0]}, index=["<i>"])
    assert "<b>" not in frame(data) and "&lt;i&gt;" in frame(data)
    assert 'class="chosen"' in table(["a"], [["1"]], classes=["chosen"])


def test_pages_load_nothing_and_escape_the_title() -> None:
    text = page("</title><script>", "<p>body</p>")
    assert "<script>" not in text
    assert "default-src 'none'" in text
    assert esc("'\"<&") == "&#x27;&quot;&lt;&amp;"
