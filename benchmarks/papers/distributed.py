"""Local fits combined: how good, how fast? The simulation of Chamroukhi and Pham (2023).

N rows are dealt to M partitions. Each is fitted alone, from the global fit's starts; the fits are
combined by the reduction (with plans at each x, as published, or of whole experts, also without the
fits that agree with no others), the aligned and the naive average, and the middle fit; reductions
are refined by one exact pass. All partitions run one after the other: "seconds" are those of M
machines, the slowest local fit and what follows, in CPU time.
"""

from __future__ import annotations

import contextlib

import numpy as np
import pandas as pd

from mixexp import MoERegressor
from mixexp.distributed import LocalFit, aggregate, local_statistics, refine

from ._distributed import (
    Clock,
    K,
    best_fit,
    draw,
    make_truth,
    quality,
    random_labels,
    timed,
)
from ._report import Fact, Report, main, trials
from ._style import COLOURS, INK, LIGHT, name, panels

MACHINES = (4, 16, 64, 128)
ROWS = {False: (100_000,), True: (100_000, 500_000, 1_000_000)}
REPLICATES = {False: 4, True: 100}
TEST = 20_000
SUPPORT = 2000
WARM = 3000  # rows of the subsample from which a global fit is warm-started
METHODS: dict[str, dict] = {
    "reduction": {},
    "whole": {"plan": "whole"},
    "whole, robust": {"plan": "whole", "robust": True},
    "aligned": {"method": "aligned"},
    "average": {"method": "average"},
    "middle": {"method": "middle"},
}
REFINED = ("reduction", "whole, robust")
SHOWN = (
    "error",
    "divergence",
    "lost log-likelihood",
    "relative prediction error",
    "Rand index",
    "seconds",
)
SIGNED = ("lost log-likelihood", "relative prediction error")  # beside the global fit's


def one_trial(n, seed, machines=MACHINES, test_rows=TEST):
    """Lines of one data set: the global fits, and every method at every number of partitions."""
    truth = make_truth()
    train, test = draw(truth, n, [seed, n]), draw(truth, test_rows, [seed, n, 1])
    labels = random_labels(n, [seed, n, 2])
    best_fit(train.X[:1000], train.y[:1000], labels[:, :1000])  # kernels are compiled here
    lines = []

    def note(method, M, model, seconds, **more):
        own = {"n": n, "seed": seed, "M": M, "method": method, "seconds": seconds}
        lines.append(own | quality(model, truth, test) | more)

    whole = timed(best_fit, train.X, train.y, labels)
    note("global", 1, whole.value, whole.cpu)
    warm = timed(_warm_fit, train, labels)
    note("global, warm", 1, warm.value, warm.cpu)
    order = np.random.default_rng([seed, n, 3]).permutation(n)
    for M in machines:
        parts = [np.sort(part) for part in np.array_split(order, M)]
        fits = [timed(best_fit, train.X[i], train.y[i], labels[:, i]) for i in parts]
        local = max(fit.cpu for fit in fits)
        support = train.X[order[:SUPPORT]]
        sent = [LocalFit.of(fit.value) for fit in fits]
        times = {"local": local, "local, all": sum(fit.cpu for fit in fits)}
        for method, settings in METHODS.items():
            made = timed(aggregate, sent, K, support=support, **settings)
            note(method, M, made.value, local + made.cpu, **times, combining=made.cpu)
            if method in REFINED:
                step = _refined(made.value, train, parts)
                spent = made.cpu + step.cpu
                name = f"{method}, refined"
                note(name, M, step.value, local + spent, **times, combining=spent)
    return lines


def _warm_fit(train, labels):
    few = best_fit(train.X[:WARM], train.y[:WARM], labels[:, :WARM])
    return MoERegressor(K, start=few).fit(train.X, train.y)


def _refined(model, train, parts):
    """One round, with the CPU seconds of the slowest partition and of the centre.

    The better of a Newton step and a step of EM, as in `AggregatedMoERegressor`.
    """
    parts = [i for i, kept in zip(parts, model.aggregation_.kept, strict=True) if kept]
    passes = [timed(local_statistics, model, train.X[i], train.y[i]) for i in parts]
    sums = [one.value for one in passes]
    steps = [timed(refine, model, sums, "em")]
    with contextlib.suppress(ValueError):  # where the information is not positive definite
        steps.append(timed(refine, model, sums, "newton"))
    heights = [
        [timed(step.value.log_prob, train.X[i], train.y[i]) for i in parts] for step in steps
    ]
    total = [sum(one.value.sum() for one in own) for own in heights]
    seconds = max(one.cpu for one in passes) + sum(step.cpu for step in steps)
    seconds += sum(max(one.cpu for one in own) for own in heights)
    return Clock(steps[int(np.argmax(total))].value, seconds, np.nan)


def run(full: bool = False) -> Report:
    tasks = [(n, seed) for n in ROWS[full] for seed in range(REPLICATES[full])]
    table = pd.DataFrame([line for lines in trials(one_trial, tasks, 1) for line in lines])
    means = table.groupby(["n", "M", "method"], sort=False).mean(numeric_only=True).reset_index()
    return Report(
        "Local fits combined",
        {"trials": table, "means": means.drop(columns="seed")},
        facts(means),
        figure(table[table["n"] == ROWS[full][0]]),
        [
            "Seconds are CPU: of the slowest partition, plus combining and refining.",
            f"Global and local fits start from the same {len(random_labels(1, 0))} random labels.",
        ],
    )


def facts(means) -> list[Fact]:
    """The paper's claims, at the smallest N."""
    own = means[means["n"] == means["n"].min()].set_index(["method", "M"])
    whole = own.loc[("global", 1)]
    out = []
    for M in sorted({M for _, M in own.index if M > 1}):
        near, better = own.loc[("reduction", M)], own.loc[("reduction, refined", M)]
        off = near["prediction error"] / whole["prediction error"] - 1
        faster = whole["seconds"] / near["seconds"]
        gap = better["error"] / whole["error"]
        target = "<= 0.005" if M <= 64 else ""
        out += [
            Fact(f"M = {M}: prediction error over the global fit's, less 1", off, "", target),
            Fact(f"M = {M}: global seconds over distributed", faster, "more than 10 at best"),
            Fact(f"M = {M}: error of the refined over the global fit's", gap, "", "<= 1.1"),
        ]
    return out


def beside_global(table):
    """The table with what every fit loses against the global fit of the same rows."""
    whole = table[table["method"] == "global"].set_index(["n", "seed"])
    own = [whole.loc[(n, seed)] for n, seed in zip(table["n"], table["seed"], strict=True)]
    lost = [line["log-likelihood"] for line in own] - table["log-likelihood"]
    more = table["prediction error"] / [line["prediction error"] for line in own] - 1
    return table.assign(**dict(zip(SIGNED, (lost, more), strict=True)))


def figure(table):
    table = beside_global(table)
    drawing, axes = panels(2, 3)
    machines = sorted(M for M in table["M"].unique() if M > 1)
    ways = ("reduction", "whole, robust", "aligned", "reduction, refined")
    for axis, what in zip(axes.flat, SHOWN, strict=True):
        whole = table[table["method"] == "global"][what]
        axis.axhspan(whole.min(), whole.max(), color=LIGHT, lw=0)
        axis.axhline(whole.mean(), color=INK, lw=1, ls=(0, (4, 3)), label="global")
        for place, (way, colour) in enumerate(zip(ways, COLOURS)):
            mine = table[table["method"] == way]
            values = [mine[mine["M"] == M][what].to_numpy() for M in machines]
            at = np.arange(len(machines)) + 0.2 * (place - 1.5)
            boxes = axis.boxplot(values, positions=at, widths=0.16, patch_artist=True)
            for box in boxes["boxes"]:
                box.set(facecolor=colour, edgecolor=colour, alpha=0.75)
            for line in [*boxes["whiskers"], *boxes["caps"], *boxes["medians"]]:
                line.set(color=colour)
            axis.plot([], [], "s", color=colour, label=way)
        axis.set_xticks(np.arange(len(machines)), [str(M) for M in machines])
        if what in ("error", "divergence", "seconds"):
            axis.set_yscale("log")
        if what in SIGNED:
            axis.set_yscale("symlog", linthresh=1e-4)
        name(axis, "partitions", "", what)
    axes[0, 0].legend(frameon=False, fontsize=8)
    return drawing


if __name__ == "__main__":
    main("distributed", run, __doc__)
