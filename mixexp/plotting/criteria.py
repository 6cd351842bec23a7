"""The criteria over the number of experts."""

from __future__ import annotations

from typing import Any

import numpy as np

from mixexp.plotting._style import GRID, INK, axes, clip_outliers, colour, label, legend, plain

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
        clip_outliers(ax, own.loc[own["criterion"].isin(("aic", "bic", "icl")), "value"])
    else:
        for i, cell in enumerate(dict.fromkeys(curves["cell"])):
            part = curves[(curves["cell"] == cell) & (curves["criterion"] == "cv_loglik")]
            _curve(ax, part, colour(i), plain(cell) or "all", errors=True)
        shown = "cv_loglik"
        label(ax, "Number of experts", "Log-likelihood per row")
        clip_outliers(ax, -curves.loc[curves["criterion"] == "cv_loglik", "value"], sign=-1)
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


def plot_criterion_curves(table: Any, criteria: Any = None, ax: Any = None) -> Any:
    """Criteria of a ladder of fits against the number of experts.

    Each curve shows distances to the best score of its criterion, so that criteria of different
    heights fit into one figure.

    Parameters
    ----------
    table : DataFrame
        From `mixexp.selection.criteria_table`.
    criteria : sequence of str, optional
        Columns to draw; by default all of the table but NEC, which is no deviance.
    ax : Axes, optional
        Where to draw.

    Returns
    -------
    Axes
        The large marker of each curve is its choice. The axis is linear up to 10, where
        differences are decisive, and logarithmic above.
    """
    ax = axes(ax)
    known = [name for name in table.columns if name not in ("n_experts", "loglik", "n_free", "NEC")]
    names = known if criteria is None else list(criteria)
    for i, same in enumerate(_equal_curves(table, names)):
        part = table[["n_experts", same[0]]].replace([np.inf, -np.inf], np.nan).dropna()
        part = part.sort_values("n_experts")
        x, gap = part["n_experts"], part[same[0]] - part[same[0]].min()
        best = x[gap.idxmin()]
        text = f"{', '.join(map(plain, same))}: {best}"
        ax.plot(x, gap, "-o", color=colour(i), lw=1.4, ms=3.5, label=text)
        ax.plot(best, 0, "o", color=colour(i), ms=9, alpha=0.9, clip_on=False)
    ax.set_yscale("symlog", linthresh=10, linscale=1.5)
    ticks = [0, 2, 5, 10, 100, 1000, 10_000]
    top = ax.get_ylim()[1]
    ax.set_yticks([tick for tick in ticks if tick <= top])
    ax.set_yticklabels([f"{tick:,}" for tick in ticks if tick <= top])
    ax.minorticks_off()
    ax.set_ylim(-0.6, top)
    ax.axhspan(-0.6, 2, color=GRID, alpha=0.6, lw=0)
    ax.set_xticks(sorted(set(table["n_experts"])))
    label(ax, "Number of experts", "Above the best of the criterion")
    legend(ax, loc="upper left", bbox_to_anchor=(1.01, 1.0))
    return ax


def _equal_curves(table: Any, names: list[str]) -> list[list[str]]:
    """Names of the criteria, those with equal scores together."""
    groups: list[list[str]] = []
    for name in names:
        for group in groups:
            if np.allclose(table[name], table[group[0]], rtol=1e-12, equal_nan=True):
                group.append(name)
                break
        else:
            groups.append([name])
    return groups
