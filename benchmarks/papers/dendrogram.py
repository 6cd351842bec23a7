"""Dendrogram of mixing measures against BIC under contamination. Do et al. (2024).

Two experts behind a steep gate, alone or with 3 % of the responses replaced by uniform noise. BIC
pays for the outliers with further experts; merging the experts of one over-fitted mixture ends at
two, since experts in excess merge at little height.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from mixexp import MoERegressor, MultiStart
from mixexp.selection import BIC, merge_path

from ._report import Fact, Report, main, trials
from ._style import COLOURS, name, panels

COUNTS = (2, 3, 4, 5)
KINDS = {"clean": 0.0, "contaminated": 0.03}
N = 1500
TRIALS = {False: 12, True: 50}
START = MultiStart(n_starts=0.2, max_rounds=0)


def draw(share, seed, n=N):
    """Lines 2 - 2 x and -1 + 2 x behind a gate of logit -4 + 8 x; ``share`` of outliers."""
    rng = np.random.default_rng(seed)
    x = rng.uniform(size=n)
    first = rng.uniform(size=n) < 1 / (1 + np.exp(4 - 8 * x))
    y = np.where(first, 2 - 2 * x, -1 + 2 * x) + 0.3 * rng.normal(size=n)
    outlier = rng.uniform(size=n) < share
    return x[:, None], np.where(outlier, rng.uniform(-3, 3, size=n), y)


def one_trial(kind, seed, n=N):
    X, y = draw(KINDS[kind], seed, n)
    fits = [MoERegressor(K, start=START, random_state=seed).fit(X, y) for K in COUNTS]
    merged = merge_path(fits[-1], X, y)
    scores = BIC().scores([fit.fit_summary_ for fit in fits])
    line = {"data": kind, "seed": seed, "dendrogram": merged.n_experts}
    line["bic"] = COUNTS[int(np.argmin(scores))]
    return line | {f"height {K}": h for K, h in zip(merged.counts, merged.heights)}


def run(full: bool = False) -> Report:
    tasks = [(kind, seed) for kind in KINDS for seed in range(TRIALS[full])]
    table = pd.DataFrame(trials(one_trial, tasks))
    return Report(
        "Dendrogram and BIC under contamination",
        {"trials": table, "means": table.groupby("data", sort=False).mean().reset_index()},
        facts(table),
        figure(table),
    )


def facts(table) -> list[Fact]:
    """Targets of ten in twelve; the published claim is one in words."""
    shares = {
        (kind, by): (part[by] == 2).mean()
        for kind, part in table.groupby("data", sort=False)
        for by in ("dendrogram", "bic")
    }
    target = f">= {10 / 12}"
    more = (table[table["data"] == "contaminated"]["bic"] > 2).mean()
    return [
        Fact("clean: share of K = 2, dendrogram", shares["clean", "dendrogram"], "", target),
        Fact("clean: share of K = 2, BIC", shares["clean", "bic"], ""),
        Fact(
            "contaminated: share of K = 2, dendrogram",
            shares["contaminated", "dendrogram"],
            "robust",
            target,
        ),
        Fact("contaminated: share of K > 2, BIC", more, "over-selects", target),
    ]


def figure(table):
    drawing, axes = panels(1, 3, size=(3.9, 3.0))
    for axis, (kind, part) in zip(axes[0], table.groupby("data", sort=False)):
        for i, by in enumerate(("dendrogram", "bic")):
            share = [(part[by] == K).mean() for K in COUNTS]
            axis.bar(np.array(COUNTS) + 0.36 * (i - 0.5), share, 0.36, color=COLOURS[i], label=by)
        axis.set(ylim=(0, 1.02), xticks=COUNTS)
        name(axis, "K", "share of trials", f"{kind}, {len(part)} trials")
    axes[0, 0].legend(frameon=False, fontsize=9)
    for i, (kind, part) in enumerate(table.groupby("data", sort=False)):
        heights = part[[f"height {K}" for K in COUNTS]]
        axes[0, 2].plot(COUNTS, heights.T, color=COLOURS[i + 2], lw=0.6, alpha=0.4)
        axes[0, 2].plot(COUNTS, heights.median(), "o-", color=COLOURS[i + 2], label=kind)
    axes[0, 2].set(yscale="log", xticks=COUNTS)
    axes[0, 2].legend(frameon=False, fontsize=9)
    name(axes[0, 2], "experts before the merge", "height", "heights, with their medians")
    return drawing


if __name__ == "__main__":
    main("dendrogram", run, __doc__)
