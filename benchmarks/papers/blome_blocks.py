"""Blocks of correlated responses found from the data: the model of BLoME, on planted blocks.

One column, eight responses in two blocks of four with correlation 0.6 inside, two localised
experts. The design is our own (the papers of BLLiM and BLoME show real data and other sizes): how
often both experts' blocks are found exactly, as n grows, and by which criterion.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from mixexp import BLoMERegressor, MultiStart
from mixexp.datasets import LocalisedTruth, make_localised_regression
from mixexp.selection import SlopeHeuristic

from ._report import Fact, Report, main, trials
from ._style import COLOURS, name, panels

BLOCKS = [[0, 1, 2, 3], [4, 5, 6, 7]]
SIZES = (50, 100, 400)
TRIALS = {False: 20, True: 100}
CRITERIA = {"bic": "bic", "djump": SlopeHeuristic("djump")}
START = MultiStart(n_starts=0.2, max_rounds=0)


def truth(rng) -> LocalisedTruth:
    """Two experts with random lines and the planted residual covariance."""
    covariance = np.eye(8)
    for block in BLOCKS:
        covariance[np.ix_(block, block)] += 0.6 * (1 - np.eye(4))
    slopes, levels = rng.standard_normal((2, 8)), 2 * rng.standard_normal((2, 8))
    means = [lambda X, k=k: X * slopes[k] + levels[k] for k in range(2)]
    spread = np.full((2, 1, 1), 0.36)
    return LocalisedTruth([0.5, 0.5], [[-1.0], [1.5]], spread, means, np.stack([covariance] * 2))


def one_trial(n, criterion, seed):
    rng = np.random.default_rng([seed, n])
    X, Y = make_localised_regression(n, truth(rng), random_state=rng)
    model = BLoMERegressor(2, criterion=CRITERIA[criterion], start=START, random_state=seed)
    try:
        model.fit(X, Y)
    except ValueError:  # too few structures for a plateau
        return {"n": n, "criterion": criterion, "seed": seed, "exact": np.nan}
    found = [sorted(map(sorted, blocks)) for blocks in model.blocks_]
    return {
        "n": n,
        "criterion": criterion,
        "seed": seed,
        "exact": float(found == [BLOCKS, BLOCKS]),
        "experts_right": sum(blocks == BLOCKS for blocks in found),
        "n_free": model.n_free_,
        "structures": len(model.structures_),
    }


def run(full: bool = False) -> Report:
    tasks = [
        (n, criterion, seed)
        for n in SIZES
        for criterion in CRITERIA
        for seed in range(TRIALS[full])
    ]
    table = pd.DataFrame(trials(one_trial, tasks))
    keys = ["n", "criterion"]
    means = table.groupby(keys, sort=False)[["exact", "n_free", "structures"]].mean().reset_index()
    facts = [
        Fact(
            f"n = {line.n}: share with the planted blocks, {line.criterion}",
            line.exact,
            "",
            ">= 0.8" if line.criterion == "bic" and line.n == SIZES[-1] else "",
        )
        for line in means.itertuples()
    ]
    lost = int(table["exact"].isna().sum())
    notes = [f"Trials in which a criterion could not choose: {lost} of {len(table)}."]
    return Report("Planted blocks", {"trials": table, "means": means}, facts, figure(means), notes)


def figure(means):
    drawing, axes = panels(size=(5, 3.2))
    for (criterion, part), colour in zip(means.groupby("criterion", sort=False), COLOURS):
        axes[0, 0].plot(part["n"], part["exact"], "o-", color=colour, label=criterion)
    axes[0, 0].set(ylim=(-0.02, 1.02), xticks=SIZES)
    axes[0, 0].legend(frameon=False, fontsize=9, loc="lower right")
    name(axes[0, 0], "n", "share of samples", "both experts' blocks found exactly")
    return drawing


if __name__ == "__main__":
    main("blome_blocks", run, __doc__)
