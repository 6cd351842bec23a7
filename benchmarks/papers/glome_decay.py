"""How fast does the divergence fall with the sample size? Nguyen et al. (2022), figure 6.

The divergence at the number of experts that the dimension jump chooses, on log-log axes. A
well-specified model of fixed dimension has a slope of -1; a mis-specified one has to grow with n,
and falls more slowly. Beside it: the true number of experts fitted to convergence from the true
labels ("lines"), and the smallest divergence in the collection, which only the truth can point at.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from mixexp import EM, GLoMERegressor
from mixexp.datasets import make_localised_regression

from ._glome import Fresh, chosen_experts, divergence, single_starts
from ._report import Fact, Report, main, trials
from ._style import COLOURS, MUTED, name, panels

DESIGNS = ("lines", "parabolas")
COUNTS = range(1, 21)
STEPS = {False: (0, 3, 6), True: range(11)}
TRIALS = {False: 8, True: 30}
FRESH = 5000
WAYS = ("jump's choice", "smallest of all", "true number")
# published slopes, and lines drawn beside them in the paper
PUBLISHED = {"lines": ("-1.287", "in -1.6 -0.9"), "parabolas": ("-0.612", "in -0.75 -0.5")}
REFERENCE = {"lines": 3, "parabolas": 20}


def sizes(full: bool) -> list[int]:
    return [round(1000 * 2 ** (k / 3)) for k in STEPS[full]]


def one_trial(design, n, seed, counts=COUNTS):
    """Divergences of one data set."""
    rng = np.random.default_rng([seed, n, DESIGNS.index(design)])
    X, y, truth = make_localised_regression(n, design, random_state=rng, return_truth=True)
    fresh = Fresh.of(truth, FRESH, seed + 10_000)
    fits = single_starts(X, y, counts, rng)
    kl = [divergence(fit, fresh) for fit in fits]
    K = chosen_experts(fits)["djump"]
    line = {"design": design, "n": n, "seed": seed, "chosen": K}
    line["jump's choice"] = dict(zip(counts, kl)).get(K, np.nan)
    line["smallest of all"] = min(kl)
    if design == "lines":
        best = GLoMERegressor(2, start=truth.z, solver=EM(max_passes=1000)).fit(X, y)
        line["true number"] = divergence(best, fresh)
    return line


def run(full: bool = False) -> Report:
    # the longest first, so that the two processes end together
    tasks = [
        (design, n, seed)
        for n in sizes(full)[::-1]
        for design in DESIGNS
        for seed in range(TRIALS[full])
    ]
    table = pd.DataFrame(trials(one_trial, tasks))
    means = table.groupby(["design", "n"])[list(WAYS)].mean().reset_index()
    slopes = pd.DataFrame(
        [
            {"design": design, "way": way} | slope(table[table["design"] == design], way)
            for design in DESIGNS
            for way in WAYS
            if design == "lines" or way != "true number"
        ]
    )
    return Report(
        "Localised experts: decay of the divergence",
        {"trials": table, "means": means, "slopes": slopes},
        facts(slopes),
        figure(means, slopes),
        [
            "Standard errors of slopes come from slopes without one trial each (jackknife).",
            f"Trials without a jump: {int(table['chosen'].isna().sum())} of {len(table)}.",
        ],
    )


def slope(table, way) -> dict[str, float]:
    """Least squares of log mean divergence on log n, with a jackknife over the trials."""
    seeds = table["seed"].unique()
    without = np.array([_line(table[table["seed"] != seed], way)[0] for seed in seeds])
    error = np.sqrt((len(seeds) - 1) * without.var()) if len(seeds) > 2 else np.nan
    value, level = _line(table, way)
    return {"slope": value, "error": error, "level": level}


def _line(table, way):
    mean = table.groupby("n")[way].mean()
    return np.polyfit(np.log(mean.index), np.log(mean), 1)


def facts(slopes) -> list[Fact]:
    out = []
    for _, line in slopes.iterrows():
        published, target = PUBLISHED[line["design"]]
        if line["way"] != "jump's choice":
            published, target = "", "in -1.15 -0.85" if line["way"] == "true number" else ""
        what = f"{line['design']}: slope of the divergence, {line['way']}"
        out.append(Fact(f"{what} (error {line['error']:.2f})", line["slope"], published, target))
    return out


def figure(means, slopes):
    drawing, axes = panels(1, 2)
    for axis, design in zip(axes[0], DESIGNS):
        mine = means[means["design"] == design]
        n = mine["n"].to_numpy()
        for way, colour in zip(WAYS, COLOURS):
            found = slopes[(slopes["design"] == design) & (slopes["way"] == way)]
            if found.empty:
                continue
            rate, level = found["slope"].iloc[0], found["level"].iloc[0]
            axis.plot(n, mine[way], "o", ms=5, color=colour)
            axis.plot(
                n, np.exp(level) * n**rate, lw=1.5, color=colour, label=f"{way}: slope {rate:.2f}"
            )
        axis.plot(n, REFERENCE[design] / n, ls=(0, (4, 3)), lw=1, color=MUTED)
        axis.annotate(
            f"{REFERENCE[design]} / n", (n[0], REFERENCE[design] / n[0]), color=MUTED, fontsize=9,
            xytext=(-2, -12), textcoords="offset points",
        )  # fmt: skip
        axis.set(xscale="log", yscale="log")
        shown = n[:: max(1, len(n) // 4)]
        axis.set_xticks(shown, [str(size) for size in shown])
        axis.minorticks_off()
        axis.legend(frameon=False, fontsize=9, loc="upper right")
        name(axis, "n", "KL(truth, fit)", design)
    return drawing


if __name__ == "__main__":
    main("glome_decay", run, __doc__)
