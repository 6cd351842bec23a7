"""Criteria, held-out log-likelihoods and sizes of the fits along a path or over its grid."""

from __future__ import annotations

from typing import Any

import numpy as np

from mixexp.plotting._style import GRID, INK, MUTED, axes, clip_outliers, colour, label, legend
from mixexp.plotting.path import chain_of, log_strength, strong_left

TITLES = {"aic": "AIC", "bic": "BIC", "mbic": "mBIC", "ebic": "EBIC", "cv": "cross-validation"}
KINDS = ("criteria", "cv", "size")


def plot_path_curves(
    result: Any, kind: str = "criteria", choice: Any = None, *, criteria: Any = None, ax: Any = None
) -> Any:
    """Curves over the strength of the penalty, strong on the left.

    Parameters
    ----------
    result : PathResult
        A path; of a grid of two dimensions the chain of the chosen fit is drawn.
    kind : {"criteria", "cv", "size"}
        Criteria, as distances to the best regular fit; the cross-validated log-likelihood per row
        with a band of one standard error; or free parameters and columns in use.
    choice : str, Criterion or int, optional
        The line or the criterion that decides which fit is marked; by default "cv" for that
        kind and "bic" else.
    criteria : sequence of str, optional
        Columns of the table, by default AIC, BIC, modified BIC and EBIC.
    ax : Axes, optional
        Where to draw.

    Returns
    -------
    Axes
        The dot on the curve of a criterion is its choice. Otherwise the ring or the dashed line is
        the chosen fit, and the square that of ``one_se=True``.
    """
    if kind not in KINDS:
        raise ValueError(f"kind must be 'criteria', 'cv' or 'size'; got {kind!r}.")
    choice = ("cv" if kind == "cv" else "bic") if choice is None else choice
    chosen = int(choice) if isinstance(choice, int | np.integer) else result.best(choice)
    lines = chain_of(result, chosen)
    ax = axes(ax)
    x = log_strength(result, lines)
    if kind == "criteria":
        _criteria(ax, result, lines, x, criteria or ("aic", "bic", "mbic", "ebic"))
    elif kind == "cv":
        _held_out(ax, result, lines, x, chosen)
    else:
        _sizes(ax, result, lines, x, chosen)
    strong_left(ax, x)
    label(ax, "log10 of the strength")
    return ax


def _criteria(ax: Any, result: Any, lines: Any, x: Any, criteria: Any) -> None:
    for i, (names, gap) in enumerate(_gaps(result, lines, criteria)):
        best = int(np.nanargmin(gap))
        ax.plot(x, gap, "-", color=colour(i), lw=1.6, label=", ".join(names))
        size = max(10 - 2.5 * i, 3)  # choices of several criteria lie on each other
        ax.plot(x[best], gap[best], "o", color=colour(i), ms=size, zorder=4 + i, clip_on=False)
    ax.set_yscale("symlog", linthresh=10, linscale=1.5)
    ticks = [0, 2, 5, 10, 100, 1000, 10_000]
    top = ax.get_ylim()[1]
    ax.set_yticks([tick for tick in ticks if tick <= top])
    ax.set_yticklabels([f"{tick:,}" for tick in ticks if tick <= top])
    ax.minorticks_off()
    ax.set_ylim(-0.6, top)
    ax.axhspan(-0.6, 2, color=GRID, alpha=0.6, lw=0)
    label(ax, y="Above the best of the criterion")
    legend(ax, loc="best")


def _gaps(result: Any, lines: Any, criteria: Any) -> list[tuple[list[str], Any]]:
    """Distances to the best fit of the lines, equal curves together; NaN where not regular."""
    regular = result.table["regular"].to_numpy()[lines]
    curves: list[tuple[list[str], Any]] = []
    for name in criteria:
        scores = np.asarray(result.scores(name), dtype=float)[lines]
        scores = np.where(np.isfinite(scores) & (regular | ~regular.any()), scores, np.nan)
        if np.isnan(scores).all():
            continue
        gap = scores - np.nanmin(scores)
        title = TITLES.get(name, str(name))
        for names, known in curves:
            if np.allclose(known, gap, atol=1e-6, equal_nan=True):
                names.append(title)
                break
        else:
            curves.append(([title], gap))
    return curves


def _held_out(ax: Any, result: Any, lines: Any, x: Any, chosen: int) -> None:
    if result.cv_log_prob is None:
        raise ValueError("kind='cv' needs a path with folds: MoEPath(..., cv=5).")
    table = result.table.iloc[lines]
    y, error = table["cv_loglik"].to_numpy(), table["cv_se"].to_numpy()
    known = np.isfinite(y)
    ax.fill_between(
        x[known], (y - error)[known], (y + error)[known], color=colour(0), alpha=0.16, lw=0,
        label="one standard error",
    )  # fmt: skip
    ax.plot(x[known], y[known], "-o", color=colour(0), lw=1.6, ms=3.5)
    place = int(np.flatnonzero(lines == chosen)[0])
    ax.plot(x[place], y[place], "o", ms=11, mfc="none", mec=INK, mew=1.3, label="chosen")
    sparse = result.best("cv", one_se=True)
    if sparse in lines:
        at = int(np.flatnonzero(lines == sparse)[0])
        ax.plot(
            x[at], y[at], "s", ms=10, mfc="none", mec=colour(1), mew=1.5,
            label="fewest parameters within one error",
        )  # fmt: skip
    label(ax, y="Held-out log-likelihood per row")
    clip_outliers(ax, np.concatenate([-(y - error), -(y + error)]), sign=-1)
    legend(ax, loc="best")


def _sizes(ax: Any, result: Any, lines: Any, x: Any, chosen: int) -> None:
    table = result.table.iloc[lines]
    shown = {
        "n_free": "free parameters", "n_expert": "columns in experts",
        "n_gate": "columns in the gate",
    }  # fmt: skip
    for i, (name, text) in enumerate(shown.items()):
        ax.plot(x, table[name], "-o", color=colour(i), lw=1.6, ms=3, label=text)
    place = int(np.flatnonzero(lines == chosen)[0])
    ax.axvline(x[place], color=INK, lw=1, ls=(0, (4, 3)), label="chosen")
    ax.set_ylim(0, None)
    label(ax, y="Number")
    legend(ax, loc="upper left")


def plot_path_surface(result: Any, criterion: Any = "bic", ax: Any = None) -> Any:
    """A criterion over a grid of strengths of gate and experts.

    Parameters
    ----------
    result : PathResult
        Of a grid of two dimensions: ``MoEPath(..., penalties_gate=8)``.
    criterion : str or Criterion
        As for ``PathResult.scores``; "cv" is minus twice the held-out log-likelihood.
    ax : Axes, optional
        Where to draw.

    Returns
    -------
    Axes
        Dark is good. The ring is the choice; cells without colour were saturated, crosses mark fits
        that are not regular.
    """
    table = result.table
    if table["chain"].nunique() < 2:
        raise ValueError(
            "A surface needs a grid of two dimensions: MoEPath(..., penalties_gate=8). For one "
            "chain take plot_path_curves."
        )
    ax = axes(ax)
    chosen = result.best(criterion)
    gate, expert = (np.log10(table[name].to_numpy()) for name in ("alpha_gate", "alpha_expert"))
    y, x = -np.unique(-gate), -np.unique(-expert)  # strong first
    row, column = np.searchsorted(-y, -gate), np.searchsorted(-x, -expert)
    gap = np.full((len(y), len(x)), np.nan)
    gap[row, column] = np.asarray(result.scores(criterion)) - result.scores(criterion)[chosen]
    drawn = ax.pcolormesh(
        _edges(x), _edges(y), np.sqrt(np.maximum(gap, 0)), cmap="cividis", edgecolor="white",
        lw=0.3, vmax=np.sqrt(max(np.nanquantile(gap, 0.8), 1e-12)), vmin=0,
    )  # fmt: skip
    _scale_bar(ax, drawn)
    ax.plot(x[column[chosen]], y[row[chosen]], "o", ms=11, mfc="none", mec="white", mew=2,
            label="chosen")  # fmt: skip
    odd = ~table["regular"].to_numpy()
    if odd.any():
        ax.plot(x[column[odd]], y[row[odd]], "x", color=MUTED, ms=4, label="not regular")
    ax.set_xlim(*_edges(x)[[0, -1]])
    ax.set_ylim(*_edges(y)[[0, -1]])
    label(ax, "log10 of the experts' strength", "log10 of the gate's strength")
    return ax


def _scale_bar(ax: Any, drawn: Any) -> None:
    """A bar whose numbers are distances, though its colours follow their roots."""
    bar = ax.figure.colorbar(drawn, ax=ax, extend="max")
    bar.outline.set_visible(False)
    top = drawn.norm.vmax**2
    ticks = [t for t in (0, 2, 10, 30, 100, 300, 1000, 3000, 10_000) if t <= top]
    bar.set_ticks([float(np.sqrt(t)) for t in ticks], labels=[f"{t:,}" for t in ticks])
    bar.ax.tick_params(labelsize=8.5, colors=MUTED, labelcolor=INK)
    bar.set_label("Above the best", color=INK, fontsize=9)


def _edges(centres: Any) -> Any:
    """Edges of cells around their centres."""
    if len(centres) == 1:
        return centres[0] + np.array([0.5, -0.5])
    middle = (centres[1:] + centres[:-1]) / 2
    return np.concatenate([[2 * centres[0] - middle[0]], middle, [2 * centres[-1] - middle[-1]]])
