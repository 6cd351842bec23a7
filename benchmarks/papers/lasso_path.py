"""A path on real data: slopes, criteria, and how stable the choice is. Boston housing.

The data of Huynh and Chamroukhi (2019), two experts and a gate in 13 columns, along this package's
path of strengths. BIC counts the slopes that are not zero. Then the same on random halves of the
rows: how often is each column chosen?
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from mixexp import MoEPath, MoERegressor, MultiStart
from mixexp.selection import BIC

from ._hdme import housing
from ._report import Fact, Report, main, trials
from ._style import COLOURS, INK, MUTED, name, panels

START = MultiStart(n_starts=0.3, max_rounds=0)
STRENGTHS = 30
FOLDS = 5
HALVES = {False: 12, True: 100}
OFTEN = 0.8
PARTS = ("expert", "gate")


def path_of(X, y, strengths=STRENGTHS, **settings):
    path = MoEPath(
        MoERegressor(2, start=START),
        penalties_expert=strengths,
        ratio=0.01,
        max_free=100,
        **settings,
    )
    return path.fit(X, y).result_


def chosen(path) -> np.ndarray:
    """(2, p) columns with a slope in any expert, and in the gate, at the choice of BIC."""
    i = path.best("bic")
    return np.stack([path.support[i].any(axis=0), path.gate_support[i].any(axis=0)])


def half(X, y, seed, strengths=STRENGTHS):
    """The choice on a random half of the rows."""
    rows = np.random.default_rng(seed).permutation(len(y))[: len(y) // 2]
    return chosen(path_of(X[rows], y[rows], strengths))


def run(full: bool = False) -> Report:
    X, y = housing()
    path = path_of(X, y, cv=FOLDS, n_jobs=2)
    frequency = np.mean(trials(half, [(X, y, seed) for seed in range(HALVES[full])]), axis=0)
    plain = MoERegressor(2, start=START).fit(X, y)
    return Report(
        "A Lasso path on the housing data",
        {"path": path.table, "stability": stability(path, frequency)},
        facts(path, frequency, plain, path.relaxed(X, y, "bic")),
        figure(path, frequency),
        [f"Frequencies are over {HALVES[full]} random halves of the rows; BIC chooses in each."],
    )


def stability(path, frequency):
    picked = chosen(path)
    out = pd.DataFrame({"column": path.feature_names["expert"]})
    for i, part in enumerate(PARTS):
        out[f"{part}: chosen"], out[f"{part}: frequency"] = picked[i], frequency[i]
    return out


def _bic(model) -> float:
    return float(BIC().scores([model.fit_summary_])[0])


def facts(path, frequency, plain, refit) -> list[Fact]:
    table, best = path.table, path.best("bic")
    picked = chosen(path)
    bic = {key: _bic(model) for key, model in {"plain": plain, "refit": refit}.items()}
    inside = float(0 < best < len(table) - 1)
    return [
        Fact("BIC has its minimum inside the path (1: yes)", inside, "", ">= 1"),
        Fact("free parameters at BIC's choice", table["n_free"].iloc[best]),
        Fact("free parameters at the choice by folds", table["n_free"].iloc[path.best("cv")]),
        Fact("free parameters without a penalty", plain.n_free_),
        Fact("BIC of the choice", table["bic"].iloc[best]),
        Fact("BIC of the choice, refitted without its penalty", bic["refit"]),
        Fact("BIC of the unpenalised fit", bic["plain"]),
        Fact("largest violation of the optimality conditions", table["certificate"].max()),
        Fact(
            f"share of the chosen columns that {OFTEN:.0%} of the halves choose",
            np.mean(frequency[picked] >= OFTEN),
        ),
        Fact(
            f"share of the other columns that {OFTEN:.0%} of the halves choose",
            np.mean(frequency[~picked] >= OFTEN) if (~picked).any() else np.nan,
        ),
    ]


def _strengths(axis):
    axis.set(xscale="log")
    axis.set_xticks([0.3, 0.1, 0.03, 0.01], ["0.3", "0.1", "0.03", "0.01"])
    axis.minorticks_off()
    axis.invert_xaxis()


def figure(path, frequency):
    drawing, axes = panels(1, 4, size=(4.0, 3.3))
    first, second, criteria, bars = axes[0]
    strengths, best = path.table["alpha_expert"], path.best("bic")
    slopes = path.coef * path.column_scale["expert"]
    for k, axis in enumerate((first, second)):
        for j in range(slopes.shape[2]):
            axis.plot(strengths, slopes[:, k, j], lw=1.4, color=COLOURS[j % len(COLOURS)])
        axis.axvline(strengths[best], color=INK, lw=1, ls=(0, (4, 3)))
        _strengths(axis)
        name(axis, "strength", "slope of the standardised column", f"expert {k + 1}")
    for key, colour in zip(("bic", "aic", "cv"), COLOURS):
        values = path.scores(key)
        criteria.plot(strengths, values, lw=1.8, color=colour, label=key)
        at = path.best(key)
        criteria.plot(strengths[at], values[at], "o", color=colour)
    _strengths(criteria)
    criteria.legend(frameon=False, fontsize=9)
    name(criteria, "strength", "deviance scale", "criteria, with their choices")
    place = np.arange(frequency.shape[1])
    for i, part in enumerate(PARTS):
        bars.barh(place + 0.4 * (i - 0.5), frequency[i], 0.4, color=COLOURS[i], label=part)
    bars.set(yticks=place, yticklabels=path.feature_names["expert"], xlim=(0, 1))
    bars.invert_yaxis()
    bars.axvline(OFTEN, color=MUTED, lw=1, ls=(0, (4, 3)))
    bars.legend(frameon=False, fontsize=9, ncols=2, loc="lower center", bbox_to_anchor=(0.6, 1))
    name(bars, "share of the halves that choose it", "", "stability")
    return drawing


if __name__ == "__main__":
    main("lasso_path", run, __doc__)
