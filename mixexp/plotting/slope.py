"""Slope heuristics: the line and its plateau, and the dimension jump."""

from __future__ import annotations

from typing import Any

import numpy as np

from mixexp.plotting._style import GRID, INK, MUTED, axes, colour, label, legend


def plot_slope(result: Any, kind: str = "line", ax: Any = None) -> Any:
    """Data-driven slope estimation.

    Parameters
    ----------
    result : SlopeEstimation
        From ``SlopeHeuristic("ddse")``.
    kind : {"line", "plateau"}
        Minus the contrast against the penalty with the line that decides; or the slopes of all
        regressions against their number of models, with the complexities that they select below
        the plateau's band.
    ax : Axes, optional
        Where to draw.

    Returns
    -------
    Axes
        The ring marks the chosen model; models on the line are filled.
    """
    if kind not in ("line", "plateau"):
        raise ValueError(f"kind must be 'line' or 'plateau'; got {kind!r}.")
    ax = axes(ax)
    return _line(result, ax) if kind == "line" else _plateau(result, ax)


def _line(result: Any, ax: Any) -> Any:
    table = result.table
    used = np.arange(len(table.penalty)) >= result.line
    x, y = table.penalty, -table.contrast
    line = result.intercepts[result.line] + result.kappa_hat * x
    before = np.where(used, np.nan, line)
    ax.plot(x[~used], y[~used], "o", mfc="white", mec=colour(0), ms=4.5, label="other models")
    ax.plot(x[used], y[used], "o", color=colour(0), ms=4.5, label="models of the line")
    ax.plot(x, np.where(used, line, np.nan), color=colour(1), lw=1.6, zorder=3,
            label=f"slope {result.kappa_hat:.4g}")  # fmt: skip
    low = y.min() - 0.05 * np.ptp(y)
    ax.plot(x, np.where(before >= low, before, np.nan), color=colour(1), lw=1, ls=(0, (4, 3)))
    chosen = int(np.flatnonzero(table.order == result.chosen)[0])
    ax.plot(x[chosen], y[chosen], "o", ms=12, mfc="none", mec=INK, mew=1.3, label="chosen")
    label(ax, "Penalty shape", "Minus the contrast", "Slope estimation")
    legend(ax, loc="lower right")
    return ax


def _plateau(result: Any, ax: Any) -> Any:
    table, best = result.table, result.plateaus[result.plateau]
    models = len(table.order) - np.arange(len(result.slopes))
    first, last = models[best.start], models[best.stop - 1]
    ax.axvspan(last - 0.5, first + 0.5, color=GRID, alpha=0.8, lw=0, label="deciding plateau")
    inside = np.zeros(len(models), dtype=bool)
    inside[best.start : best.stop] = True
    ax.plot(models, result.slopes, "-", color=MUTED, lw=0.8)
    ax.plot(models[~inside], result.slopes[~inside], "o", mfc="white", mec=colour(0), ms=4)
    ax.plot(models[inside], result.slopes[inside], "o", color=colour(0), ms=4)
    ax.axhline(result.kappa_hat, color=colour(1), lw=1.2, label=f"slope {result.kappa_hat:.4g}")
    chosen = int(np.flatnonzero(table.order == result.chosen)[0])
    title = f"{100 * result.share:.0f} % select complexity {table.complexity[chosen]:g}"
    label(ax, "Models of the regression", "Slope", title)
    ax.set_xlim(models[0] + 1, models[-1] - 1)  # fewer models to the right, as along the plateau
    legend(ax)
    return ax


def plot_jump(result: Any, ax: Any = None) -> Any:
    """The complexity selected against the constant of the penalty, with its largest fall.

    Parameters
    ----------
    result : DimensionJump
        From ``SlopeHeuristic("djump")``.
    ax : Axes, optional
        Where to draw.

    Returns
    -------
    Axes
        The ring marks the chosen model; the band is the jump area, where one was asked for.
    """
    ax = axes(ax)
    place = {int(model): i for i, model in enumerate(result.table.order)}
    complexity = result.table.complexity[[place[int(model)] for model in result.models]]
    kappa = result.kappa
    end = max(2.0 * result.kappa_opt, 1.1 * (result.area or (0, 0))[1])
    if kappa[-1] <= 2 * end:
        end = max(end, 1.08 * kappa[-1])
    if result.area is not None:
        ax.axvspan(*result.area, color=GRID, lw=0, label="jump area")
    ax.step(np.append(kappa, end), np.append(complexity, complexity[-1]), where="post",
            color=colour(0), lw=1.6)  # fmt: skip
    low, high = complexity[result.jump + 1], complexity[result.jump]
    ax.plot([result.kappa_hat] * 2, [low, high], color=colour(1), lw=2.6, zorder=3,
            label=f"jump at {result.kappa_hat:.4g}")  # fmt: skip
    ax.axvline(result.kappa_opt, color=MUTED, lw=1, ls=(0, (4, 3)),
               label=f"penalty constant {result.kappa_opt:.4g}")  # fmt: skip
    chosen = result.table.complexity[place[result.chosen]]
    ax.plot(result.kappa_opt, chosen, "o", ms=12, mfc="none", mec=INK, mew=1.3, label="chosen")
    label(ax, "Constant of the penalty", "Complexity selected", "Dimension jump")
    ax.set_xlim(0, end)
    ax.set_ylim(0, None)
    if kappa[-1] > end:
        ax.text(
            0.99, 0.02, "larger constants are cut off", transform=ax.transAxes, ha="right",
            va="bottom", fontsize=8, color=MUTED,
        )  # fmt: skip
    legend(ax, loc="upper right")
    return ax
