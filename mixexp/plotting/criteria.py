"""The criteria over the number of experts."""

from __future__ import annotations

from typing import Any

import numpy as np

from mixexp.plotting._style import INK, MUTED, axes, colour, label, legend, plain

NAMES = {"aic": "AIC", "bic": "BIC", "icl": "ICL", "cv_loglik": "Log-likelihood per row"}


def plot_criteria(result: Any, kind: str = "information", ax: Any = None) -> Any:
    """Criteria of a study against the number of experts.

    Parameters
    ----------
    result : StudyResult
        A study.
    kind : {"information", "cv"}
        AIC, BIC and ICL of the winner's cell (smaller is better), or the cross-validated
        log-likelihood per row of every cell with its standard error (larger is better).
    ax : Axes, optional
        Where to draw.

    Returns
    -------
    Axes
        Open markers are degenerate fits; the ring marks the chosen one.
    """
    ax = axes(ax)
    curves, chosen = result.curves, result.table.loc[result.chosen]
    if kind == "information":
        own = curves[curves["cell"] == chosen["cell"]]
        for i, name in enumerate(("aic", "bic", "icl")):
            _curve(ax, own[own["criterion"] == name], colour(i), NAMES[name])
        shown = result.criterion if result.criterion in ("aic", "bic", "icl") else "bic"
        label(ax, "Number of experts", "Criterion (smaller is better)", chosen["cell"] or None)
        _clip_outliers(ax, own.loc[own["criterion"].isin(("aic", "bic", "icl")), "value"])
    else:
        for i, cell in enumerate(dict.fromkeys(curves["cell"])):
            part = curves[(curves["cell"] == cell) & (curves["criterion"] == "cv_loglik")]
            _curve(ax, part, colour(i), plain(cell) or "all", errors=True)
        shown = "cv_loglik"
        label(ax, "Number of experts", "Log-likelihood per row")
        _clip_outliers(ax, -curves.loc[curves["criterion"] == "cv_loglik", "value"], sign=-1)
    ax.plot(
        chosen["n_experts"], chosen[shown], "o", ms=12, mfc="none", mec=INK, mew=1.3, label="chosen"
    )
    ax.set_xticks(sorted(result.table["n_experts"].unique()))
    if kind == "information" or len(set(curves["cell"])) > 1:
        legend(ax)
    return ax


def _curve(ax: Any, part: Any, line_colour: str, name: str, errors: bool = False) -> None:
    part = part[np.isfinite(part["value"])].sort_values("n_experts")
    if not len(part):
        return
    x, y, regular = (part[c].to_numpy() for c in ("n_experts", "value", "regular"))
    ax.plot(x, y, "-", color=line_colour, lw=1.6, label=name)
    if errors:
        ax.errorbar(x, y, part["se"], fmt="none", ecolor=line_colour, alpha=0.6, capsize=3)
    regular = regular.astype(bool)
    ax.plot(x[regular], y[regular], "o", color=line_colour, ms=5)
    ax.plot(x[~regular], y[~regular], "o", mfc="white", mec=line_colour, ms=5)


def _clip_outliers(ax: Any, values: Any, sign: int = 1) -> None:
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
