"""Figures of one look."""

from __future__ import annotations

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt

INK, MUTED, LIGHT = "#1f2933", "#66717c", "#d5dbe1"
COLOURS = ("#2f6db3", "#d1762c", "#2e8b6d", "#b0457b", "#7a6bc4", "#8a6d3b")


def panels(rows: int = 1, columns: int = 1, size=(4.6, 3.4), **options):
    """A figure and its axes (rows, columns) without boxes around them."""
    width, height = columns * size[0], rows * size[1]
    figure, axes = plt.subplots(
        rows, columns, figsize=(width, height), layout="constrained", squeeze=False, **options
    )
    for axis in axes.flat:
        axis.spines[["top", "right"]].set_visible(False)
        axis.tick_params(colors=MUTED, labelcolor=INK, labelsize=9)
        for side in ("left", "bottom"):
            axis.spines[side].set_color(MUTED)
    return figure, axes


def name(axis, x="", y="", title=""):
    axis.set_xlabel(x, color=INK)
    axis.set_ylabel(y, color=INK)
    axis.set_title(title, color=INK, fontsize=10.5, loc="left")
