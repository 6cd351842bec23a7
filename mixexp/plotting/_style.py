"""Colours and safe text shared by the figures. Matplotlib is imported inside functions only."""

from __future__ import annotations

import unicodedata
from typing import Any

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
