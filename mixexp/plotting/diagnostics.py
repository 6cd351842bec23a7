"""Worm plots, influence, and the reliability and certainty of a gate."""

from __future__ import annotations

from typing import Any

import numpy as np

from mixexp.plotting._style import GRID, MUTED, axes, colour, drawn_from, label, legend, plain


def plot_worm(worm: Any, ax: Any = None) -> Any:
    """A detrended normal QQ plot with its cubic and a pointwise 95 % band.

    Parameters
    ----------
    worm : Worm
        One of `mixexp.explain.worms`.
    ax : Axes, optional
        Where to draw.

    Returns
    -------
    Axes
        The drawing.
    """
    drawn_from(worm, "deviation", "an entry of mixexp.explain.worms")
    ax = axes(ax)
    q = worm.theoretical
    ax.fill_between(q, worm.lower, worm.upper, color=GRID, lw=0, label="95 % band")
    ax.axhline(0, color=MUTED, lw=0.8)
    ax.scatter(q, worm.deviation, s=10, color=colour(0), lw=0, alpha=0.8, rasterized=len(q) > 2000)
    ax.plot(q, np.polynomial.polynomial.polyval(q, worm.coefficients), color=colour(1), lw=1.5)
    reach = 1.1 * max(np.abs(worm.deviation).max(), 0.3)
    ax.set_ylim(-reach, reach)
    label(ax, "Normal quantile", "Deviation", f"Worm plot, {worm.label}")
    legend(ax, loc="upper left")
    return ax


def plot_influence(influence: Any, ax: Any = None, names: Any = 5) -> Any:
    """Cook's distances of the rows, the largest ones with their positions.

    Parameters
    ----------
    influence : Influence
        From `mixexp.explain.influence`.
    ax : Axes, optional
        Where to draw.
    names : int or sequence of str
        How many of the largest are numbered; or what all rows are called (five are named then).

    Returns
    -------
    Axes
        The drawing.
    """
    drawn_from(influence, "cook", "mixexp.explain.influence")
    ax = axes(ax)
    cook = np.nan_to_num(influence.cook)
    ax.vlines(np.arange(len(cook)), 0, cook, color=colour(0), lw=1)
    called = range(len(cook)) if isinstance(names, int) else names
    marked = influence.largest(names if isinstance(names, int) else 5)
    for row in marked[cook[marked] > 0.05 * cook.max()]:  # others would only overlap
        ax.annotate(
            str(called[row]),
            (row, cook[row]),
            (0, 3),
            textcoords="offset points",
            ha="center",
            fontsize=8,
        )
    ax.set_ylim(0, 1.12 * max(cook.max(), 1e-12))
    label(ax, "Row", "Cook's distance", "Influence on the fit")
    return ax


def plot_gate_calibration(calibration: Any, ax: Any = None) -> Any:
    """Mean posterior probabilities against those of the gate, with two standard errors.

    Parameters
    ----------
    calibration : GateCalibration
        From `mixexp.explain.gate_calibration`.
    ax : Axes, optional
        Where to draw.

    Returns
    -------
    Axes
        The drawing.
    """
    drawn_from(calibration, "posterior", "mixexp.explain.gate_calibration")
    ax = axes(ax)
    ax.plot([0, 1], [0, 1], color=MUTED, lw=0.8)
    names = calibration.experts or [f"expert {k}" for k in range(len(calibration.gate))]
    for k, (gate, posterior, error) in enumerate(
        zip(calibration.gate, calibration.posterior, calibration.error, strict=True)
    ):
        ax.errorbar(
            gate,
            posterior,
            2 * error,
            fmt="o",
            ms=4,
            lw=1,
            color=colour(k),
            label=plain(names[k], 22),
        )
    label(ax, "Gate probability", "Mean posterior probability", "Calibration of the gate")
    legend(ax, loc="upper left")
    return ax


def plot_uncertainty(uncertainty: Any, ax: Any = None, *, names: Any = None, bins: int = 20) -> Any:
    """Histogram of the rows' largest posterior probabilities, by the expert that has it.

    Parameters
    ----------
    uncertainty : RowUncertainty
        From `mixexp.explain.row_uncertainty`.
    ax : Axes, optional
        Where to draw.
    names : sequence of str, optional
        What the experts are called; by default as in ``uncertainty.experts``.
    bins : int

    Returns
    -------
    Axes
        The drawing; rows on the left belong to no expert for sure.
    """
    drawn_from(uncertainty, "assigned", "mixexp.explain.row_uncertainty")
    ax = axes(ax)
    names = list(uncertainty.experts.index) if names is None else names
    K = len(names)
    largest = [1 - uncertainty.uncertainty[uncertainty.assigned == k] for k in range(K)]
    ax.hist(
        largest, bins=np.linspace(1 / K, 1, bins + 1), stacked=True,
        color=[colour(k) for k in range(K)], label=[plain(name, 22) for name in names],
        edgecolor="white", lw=0.4,
    )  # fmt: skip
    ax.set_xlim(1 / K, 1)
    title = f"Separation {uncertainty.separation:.2f}"
    label(ax, "Largest posterior probability", "Rows", title)
    legend(ax, loc="upper left")
    return ax
