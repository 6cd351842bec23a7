"""Penalised objectives on the data of the package HDME. Huynh and Chamroukhi (2019).

Their README prints where their algorithm stopped, from one random start each. Ours must reach it
or pass it. The data are not part of this package: cases whose data are missing are left out.
"""

from __future__ import annotations

import time

import pandas as pd

from ._hdme import CASES, estimator, load, objective
from ._report import Fact, Report, main
from ._style import COLOURS, INK, name, panels


def one_case(key):
    case = CASES[key]
    X, y = load(key)
    began = time.perf_counter()
    model = estimator(X, y, case.family, case.lam, case.gamma).fit(X, y)
    seconds = time.perf_counter() - began
    return {
        "case": key,
        "n": len(y),
        "p": X.shape[1],
        "lambda": case.lam,
        "gamma": case.gamma,
        "ours": objective(model, X, y, case.lam, case.gamma),
        "theirs": case.theirs,
        "n_free": model.n_free_,
        "smallest_expert": model.expert_sizes_.min(),
        "status": model.status_.name,
        "regular": model.regular_,
        "seconds": seconds,
    }


def run(full: bool = False) -> Report:
    """``full`` changes nothing: these are the published sizes."""
    lines, notes = [], []
    for key in CASES:
        try:
            lines.append(one_case(key))
        except FileNotFoundError as error:
            notes.append(f"{key} left out: {error}")
    if not lines:
        raise FileNotFoundError("no case has its data: " + "; ".join(notes))
    table = pd.DataFrame(lines)
    facts = [
        Fact(
            f"{line['case']}: penalised log-likelihood",
            line["ours"],
            f"{line['theirs']:.4f}",
            f">= {line['theirs']}",
        )
        for line in lines
    ]
    return Report("Penalised objectives", {"cases": table}, facts, figure(table), notes)


def figure(table):
    drawing, axes = panels(size=(5.6, 2.8))
    axis = axes[0, 0]
    gain = table["ours"] - table["theirs"]
    axis.barh(table["case"], gain, color=COLOURS[0], height=0.6)
    for i, value in enumerate(gain):
        axis.annotate(
            f"{value:+.3g}", (max(value, 0), i), xytext=(4, 0), textcoords="offset points",
            va="center", fontsize=9, color=INK,
        )  # fmt: skip
    axis.set_xscale("symlog", linthresh=0.01)
    axis.margins(x=0.2)
    axis.invert_yaxis()
    name(axis, "our penalised log-likelihood less theirs", "", "")
    return drawing


if __name__ == "__main__":
    main("lasso_objectives", run, __doc__)
