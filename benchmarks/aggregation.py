"""(i) Fits of partitions, combined, against one fit of all rows.

The design of `benchmarks.papers.distributed`, with so many rows that the global fit takes 20 s or
more; the same random labels start the global fit and, row by row, the local ones: 20 passes each,
and the highest goes on to convergence. Partitions run
one after the other, and M machines would take as long as the slowest. Times are CPU seconds of
this process. The global fit from a fit of 3,000 rows stands beside it.
"""

from __future__ import annotations

import numpy as np

from mixexp.distributed import LocalFit, aggregate, local_statistics, refine

from .papers._distributed import (
    K,
    best_fit,
    draw,
    make_truth,
    quality,
    random_labels,
    timed,
)
from .papers.distributed import SUPPORT, _warm_fit
from .timing import Line

MACHINES = (16, 64)
ROWS = {True: 100_000, False: 800_000}
TEST = 50_000


def aggregation(quick=False):
    n, truth = ROWS[quick], make_truth()
    train, test = draw(truth, n, 0), draw(truth, TEST, 1)
    labels = random_labels(n, 2)
    best_fit(train.X[:1000], train.y[:1000], labels[:, :1000])  # kernels are compiled here
    whole = timed(best_fit, train.X, train.y, labels)
    warm = timed(_warm_fit, train, labels)
    target = quality(whole.value, truth, test)
    order = np.random.default_rng(3).permutation(n)
    yield _line(
        "global fit, from random labels (s)", f"N = {n:,}", whole.cpu, ">= 20" * (not quick)
    )
    yield _line("global fit, from a fit of 3,000 rows (s)", f"N = {n:,}", warm.cpu)
    for M in MACHINES:
        parts = [np.sort(part) for part in np.array_split(order, M)]
        fits = [timed(_local_fit, train, labels, i) for i in parts]
        slowest = max(fit.cpu for fit in fits)
        case = f"M = {M}"
        share = slowest / whole.cpu
        note = f"{slowest:.2f} s; all {sum(fit.cpu for fit in fits):.1f} s"
        yield _line("slowest local fit / global, times M", case, share * M, "<= 1.5", note)
        sent = [fit.value for fit in fits]
        for plan in ("pointwise", "whole"):
            made = timed(aggregate, sent, K, support=train.X[order[:SUPPORT]], plan=plan)
            yield from _compared(
                f"{case}, {plan}", made.value, slowest, made.cpu, whole, warm, target, truth, test
            )
            for step in ("em", "newton"):
                what = f"after a round ({step}): error / global's"
                found = _one_round(made.value, train, parts, step)
                if found is None:
                    note = "the information is not positive definite"
                    yield _line(what, f"{case}, {plan}", None, "", note)
                    continue
                done, seconds = found
                spent = made.cpu + seconds
                ours = quality(done, truth, test)
                note = f"{seconds:.2f} s; speed-up {whole.cpu / (slowest + spent):.1f}"
                ratio = ours["error"] / target["error"]
                yield _line(what, f"{case}, {plan}", ratio, "", note)


def _line(what, case, value, bar="", note=""):
    return Line("aggregation", what, case, value, bar, note)


def _local_fit(train, labels, rows):
    return LocalFit.of(best_fit(train.X[rows], train.y[rows], labels[:, rows]))


def _compared(case, model, slowest, combining, whole, warm, target, truth, test):
    ours = quality(model, truth, test)
    total = slowest + combining
    note = f"{slowest:.2f} + {combining:.2f} s"
    bar = ">= 10" if case.startswith("M = 16") else ""
    yield _line("global / (slowest local + reduction)", case, whole.cpu / total, bar, note)
    yield _line("the same, global from a subsample", case, warm.cpu / total, "", note)
    off = ours["prediction error"] / target["prediction error"] - 1
    note = f"{ours['prediction error']:.5f} and {target['prediction error']:.5f}"
    yield _line("relative prediction error / global's, less 1", case, off, "<= 0.005", note)
    note = f"{ours['error']:.5f} and {target['error']:.5f}"
    yield _line(
        "error of the parameters / global's", case, ours["error"] / target["error"], "", note
    )


def _one_round(model, train, parts, step):
    """The model after one exact pass, and CPU seconds: slowest partition and centre.

    None where the partitions are so small that there is no Newton step.
    """
    passes = [
        timed(local_statistics, model, train.X[i], train.y[i], information=step == "newton")
        for i in parts
    ]
    try:
        done = timed(refine, model, [one.value for one in passes], step)
    except ValueError:
        return None
    return done.value, max(one.cpu for one in passes) + done.cpu
