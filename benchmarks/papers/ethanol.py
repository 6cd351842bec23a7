"""Ethanol: how many regimes has the engine? Nguyen et al. (2022), figures 7 to 9.

88 runs of an engine: nitrogen oxides (NOx) and the equivalence ratio (E). Localised experts in both
directions, K = 1..12, many random starts of the whole collection, and what is chosen each
time. The data stay the same, so the shares say how much a choice owes to the start: plain EM from
one random partition with a loose stop, or the package's search.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from mixexp import GLoMERegressor
from mixexp.datasets import load_ethanol

from ._glome import CRITERIA, OPTIMISERS, chosen_experts
from ._report import Fact, Report, main, trials
from ._style import COLOURS, INK, MUTED, name, panels

COUNTS = range(1, 13)
TRIALS = {"single start": {False: 50, True: 100}, "search": {False: 3, True: 20}}
DIRECTIONS = {"x = NOx": ("NOx", "E"), "x = E": ("E", "NOx")}
KEYS = ["direction", "optimiser"]
# published shares of K = 4, the most frequent number in both directions
PUBLISHED = {
    ("x = NOx", "djump"): "0.38",
    ("x = E", "djump"): "0.47",
    ("x = NOx", "ddse (capushe)"): "0.28",
    ("x = E", "ddse (capushe)"): "0.33",
}


def data(direction):
    X, nox = load_ethanol(return_X_y=True)
    columns = {"E": np.asarray(X)[:, 1], "NOx": np.asarray(nox)}
    x, y = DIRECTIONS[direction]
    return columns[x][:, None], columns[y]


def one_trial(direction, optimiser, seed, counts=COUNTS):
    X, y = data(direction)
    rng = np.random.default_rng([seed, list(DIRECTIONS).index(direction)])
    fits = OPTIMISERS[optimiser](X, y, counts, rng)
    return {"direction": direction, "optimiser": optimiser, "seed": seed} | chosen_experts(fits)


def run(full: bool = False) -> Report:
    tasks = [
        (direction, optimiser, seed)
        for optimiser in TRIALS
        for direction in DIRECTIONS
        for seed in range(TRIALS[optimiser][full])
    ]
    table = pd.DataFrame(trials(one_trial, tasks))
    return Report(
        "Ethanol: the chosen number of localised experts",
        {"trials": table, "shares": shares(table)},
        facts(table),
        figure(table),
        [
            "One column and one response: the joint model is the same in both directions, and "
            "the two differ by their random starts alone."
        ],
    )


def shares(table):
    """Share of the trials in which each number is chosen, in percent."""
    long = table.melt([*KEYS, "seed"], list(CRITERIA), "criterion", "K")
    counts = pd.crosstab(
        [long[key] for key in (*KEYS, "criterion")], long["K"], normalize="index"
    )  # trials without a choice do not count
    counts.columns = [str(int(K)) for K in counts.columns]
    return (100 * counts).round().astype(int).reset_index()


def facts(table) -> list[Fact]:
    out = []
    for (direction, optimiser), part in table.groupby(KEYS, sort=False):
        for criterion in CRITERIA:
            target = "in 4 4" if criterion == "djump" else ""
            known = PUBLISHED.get((direction, criterion), "")
            where = f"{direction}, {criterion}, {optimiser}"
            mode = part[criterion].mode().iloc[0]
            out += [
                Fact(f"most frequent K, {where}", mode, "4" if known else "", target),
                Fact(f"share of K = 4, {where}", (part[criterion] == 4).mean(), known),
            ]
    return out


def figure(table):
    drawing, axes = panels(2, 3, size=(3.9, 3.0))
    for line, direction in zip(axes, DIRECTIONS):
        for axis, optimiser in zip(line, TRIALS):
            mine = table[(table["direction"] == direction) & (table["optimiser"] == optimiser)]
            for i, criterion in enumerate(("djump", "ddse", "bic")):
                share = [(mine[criterion] == K).mean() for K in COUNTS]
                place = np.array(COUNTS) + 0.27 * (i - 1)
                axis.bar(place, share, 0.27, color=COLOURS[i], label=criterion)
            axis.set(ylim=(0, 1.02), xticks=list(COUNTS))
            name(axis, "K", "share of trials", f"{direction}: {optimiser}, {len(mine)} trials")
        line[0].legend(frameon=False, fontsize=9)
        _curves(line[2], direction)
    return drawing


def _curves(axis, direction):
    """The fit with four experts: its mean, and its experts where the gate prefers them."""
    X, y = data(direction)
    model = GLoMERegressor(4, random_state=0).fit(X, y)
    axis.scatter(X, y, s=12, color=MUTED, lw=0)
    lines = np.linspace(X.min(), X.max(), 400)[:, None]
    owner = model.gate_proba(lines).argmax(axis=1)
    for k in range(4):
        height = lines[:, 0] * model.coef_[k].ravel()[0] + np.ravel(model.intercept_[k])[0]
        axis.plot(lines, np.where(owner == k, height, np.nan), lw=2.5, color=COLOURS[k])
    axis.plot(lines, model.predict(lines), color=INK, lw=1.2)
    name(axis, *DIRECTIONS[direction], f"{direction}: four experts")


if __name__ == "__main__":
    main("ethanol", run, __doc__)
