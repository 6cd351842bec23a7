"""Colours and safe text shared by the figures. Matplotlib is imported inside functions only."""

from __future__ import annotations

import unicodedata
from typing import Any

import numpy as np

INK, MUTED, GRID = "#1f2933", "#66717c", "#e3e7eb"
# Colours told apart by colour-blind readers; experts keep theirs through all figures.
PALETTE = (
    "#2f6db3", "#d1762c", "#2e8b6d", "#b0457b", "#7a6bc4", "#8a6d3b", "#4aa3c7", "#a33b3b",
    "#5f7d2b", "#6b7480",
)  # fmt: skip


def colour(index: int) -> str:
    """Colour of an expert or class."""
    return PALETTE[index % len(PALETTE)]


def plain(text: Any, limit: int = 32) -> str:
    """Text from the data, fit for a figure: one line, not too long, never mathematics.

    Control and format characters become blanks; a leading underscore would hide a legend entry.
    Dollar signs stay: texts are drawn with ``parse_math=False``.
    """
    cleaned = "".join(" " if unicodedata.category(c)[0] in "CZ" else c for c in str(text))
    cleaned = " ".join(cleaned.split())
    cleaned = cleaned if len(cleaned) <= limit else cleaned[: limit - 1] + "\u2026"
    return f" {cleaned}" if cleaned.startswith("_") else cleaned


def drawn_from(given: Any, attribute: str, source: str) -> None:
    """Refuse what no figure can be drawn of, such as the model itself, and say what makes it."""
    if not hasattr(given, attribute):
        raise TypeError(
            f"the figure is drawn from what {source} gives; got {type(given).__name__}."
        )


def axes(ax: Any = None) -> Any:
    """The given axes, or new ones, with light lines."""
    if ax is None:
        import matplotlib.pyplot as plt

        _, ax = plt.subplots(figsize=(5.2, 3.6), layout="constrained")
    for side in ("top", "right"):
        ax.spines[side].set_visible(False)
    for side in ("left", "bottom"):
        ax.spines[side].set_color(MUTED)
    ax.tick_params(colors=MUTED, labelcolor=INK, labelsize=9)
    return ax


def label(ax: Any, x: Any = None, y: Any = None, title: Any = None) -> None:
    """Axis labels and title from any text."""
    if x is not None:
        ax.set_xlabel(plain(x, 48), color=INK, fontsize=10, parse_math=False)
    if y is not None:
        ax.set_ylabel(plain(y, 40), color=INK, fontsize=10, parse_math=False)
    if title is not None:
        ax.set_title(plain(title, 60), color=INK, fontsize=10.5, loc="left", parse_math=False)


def legend(ax: Any, **options: Any) -> None:
    """A legend whose texts are never mathematics."""
    handles, names = ax.get_legend_handles_labels()
    if not handles:
        return
    box = ax.legend(handles, names, fontsize=8.5, frameon=False, labelcolor=INK, **options)
    for text in box.get_texts():
        text.set_parse_math(False)


def categories(ax: Any, names: Any) -> None:
    """Names along the horizontal axis."""
    texts = [plain(name, 16) for name in names]
    crowded = sum(map(len, texts)) > 40
    ax.set_xticks(range(len(texts)))
    ax.set_xticklabels(
        texts, rotation=35 if crowded else 0, ha="right" if crowded else "center",
        parse_math=False,
    )  # fmt: skip


def clip_outliers(ax: Any, values: Any, sign: int = 1) -> None:
    """Keep one wild value (an overfitted fold) from flattening the curves."""
    values = np.sort(np.asarray(values, float)[np.isfinite(values)])
    if len(values) < 4:
        return
    low, middle = values[0], values[len(values) * 3 // 4]
    if values[-1] - low <= 6 * max(middle - low, 1e-12):
        return
    limits = sorted((sign * (low - 0.15 * (middle - low)), sign * (low + 2.5 * (middle - low))))
    ax.set_ylim(*limits)
    ax.text(
        0.99, 0.99 if sign > 0 else 0.01, "values outside are cut off", transform=ax.transAxes,
        ha="right", va="top" if sign > 0 else "bottom", fontsize=8, color=MUTED,
    )  # fmt: skip


def spread_apart(values: Any, gap: float) -> Any:
    """The values moved apart, in their order and as little as is easy, to be ``gap`` apart."""
    values = np.asarray(values, dtype=float)
    order = np.argsort(values, kind="stable")
    groups: list[list[float]] = []  # sums and counts of what each group's lowest place should be
    for rank, value in enumerate(values[order]):
        groups.append([value - gap * rank, 1.0])
        while len(groups) > 1 and groups[-2][0] / groups[-2][1] > groups[-1][0] / groups[-1][1]:
            last = groups.pop()
            groups[-1] = [groups[-1][0] + last[0], groups[-1][1] + last[1]]
    level = np.concatenate([np.full(int(count), total / count) for total, count in groups])
    out = np.empty(len(values))
    out[order] = level + gap * np.arange(len(values))
    return out


def end_labels(ax: Any, texts: Any, heights: Any, colours: Any) -> None:
    """Names of lines to the right of the axes, at their last heights but never on each other."""
    if not len(texts):
        return
    low, high = ax.get_ylim()
    inches = ax.get_position().height * ax.figure.get_figheight()
    gap = (high - low) * 0.145 / max(inches, 0.5)  # a line of 8 points
    places = spread_apart(heights, gap)
    places = places - max(0.0, places.max() - high)
    for text, place, tone in zip(texts, places, colours, strict=True):
        ax.annotate(
            _short(text), (1.0, place), xycoords=("axes fraction", "data"), xytext=(4, 0),
            textcoords="offset points", va="center", fontsize=8, color=tone, parse_math=False,
            annotation_clip=False,
        )  # fmt: skip


def _short(text: Any) -> str:
    """A name beside a line: without its unit in brackets where it is long."""
    whole = plain(text)
    return plain(whole if len(whole) <= 15 else whole.partition(" (")[0], 15)
