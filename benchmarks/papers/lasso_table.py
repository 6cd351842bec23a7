"""Sparsity, estimation and clustering of Lasso mixtures. Huynh and Chamroukhi (2019), simulations.

Two experts in six correlated columns, n = 300. Sensitivity is the share of the true non-zero
slopes that are estimated as non-zero, specificity the share of the true zeros that are estimated
as exactly zero; errors of coefficients are mean squares, intercepts included; rows are clustered
by their largest responsibility. The unpenalised fit is compared with fixed strengths, with a grid
chosen by the modified BIC, and with this package's own path, refitted on the support that BIC
chooses.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from mixexp import MoEPath, MoERegressor, MultiStart

from ._hdme import TRUTHS, coefficients, draw, estimator
from ._report import Fact, Report, main, trials
from ._style import COLOURS, INK, MUTED, name, panels

N = 300
START = MultiStart(n_starts=0.3, max_rounds=0)  # reaches what the default search reaches here
GRID = ((16, 12, 8, 5, 2), (8, 5, 2))
MANY = 100  # free parameters: no end of a path before its last strength
QUICK, SLOW = {False: 40, True: 100}, {False: 10, True: 100}  # trials: single fits, paths
PARTS = ("expert 1", "expert 2", "gate")


def single(lam, gamma):
    def fit(X, y, family):
        return estimator(X, y, family, lam, gamma, start=START).fit(X, y)

    return fit


def grid(X, y, family):
    """All pairs of strengths; the modified BIC chooses."""
    strengths = [np.array(values) / len(y) for values in GRID]
    template = estimator(X, y, family, 1, 1, start=START)
    path = MoEPath(
        template, penalties_expert=strengths[0], penalties_gate=strengths[1], max_free=MANY
    )
    return path.fit(X, y).result_.model("mbic")


def relaxed_path(X, y, family):
    """What this package offers for Gaussian experts, with its defaults."""
    path = MoEPath(MoERegressor(2, start=START), max_free=MANY).fit(X, y).result_
    return path.relaxed(X, y, "bic")


PATHS = {"grid, modified BIC": grid, "path, BIC, relaxed": relaxed_path}
METHODS = {
    "gaussian": {
        "unpenalised": single(0, 0),
        "lambda = gamma = 5": single(5, 5),
        "lambda = 10, gamma = 5": single(10, 5),
        **PATHS,
    },
    "logistic": {"unpenalised": single(0, 0), "lambda = gamma = 3": single(3, 3)},
    "poisson": {"unpenalised": single(0, 0), "lambda = 20, gamma = 10": single(20, 10)},
}
# an independent NumPy program of the authors' algorithm, 40 data sets (20 for the grid):
# sensitivity and specificity of both experts and the gate, errors of experts and gate, clustering
REFERENCE = {
    "unpenalised": (1.0, 0.0, 1.0, 0.0, 1.0, 0.0, 0.0193, 0.211, 0.112),
    "lambda = gamma = 5": (1.0, 0.425, 1.0, 0.450, 1.0, 0.731, 0.0165, 0.109, 0.109),
    "lambda = 10, gamma = 5": (0.975, 0.669, 0.992, 0.700, 0.975, 0.756, 0.0453, 0.193, 0.123),
    "grid, modified BIC": (1.0, 0.588, 1.0, 0.650, 1.0, 0.738, 0.0263, 0.102, 0.113),
}
FIGURES = [f"{kind} {part}" for part in PARTS for kind in ("sensitivity", "specificity")]
FIGURES += ["error experts", "error gate", "clustering error"]
TARGETS = {
    ("lambda = 10, gamma = 5", "sensitivity expert 1"): ">= 0.95",
    ("lambda = 10, gamma = 5", "sensitivity expert 2"): ">= 0.95",
    ("lambda = 10, gamma = 5", "sensitivity gate"): ">= 0.95",
    ("lambda = 10, gamma = 5", "specificity expert 1"): "in 0.6 0.8",
    ("lambda = 10, gamma = 5", "specificity expert 2"): "in 0.6 0.8",
    ("lambda = 10, gamma = 5", "specificity gate"): "in 0.65 0.85",
    ("grid, modified BIC", "sensitivity expert 1"): ">= 0.98",
    ("grid, modified BIC", "sensitivity expert 2"): ">= 0.98",
    ("grid, modified BIC", "sensitivity gate"): ">= 0.98",
    ("grid, modified BIC", "specificity expert 1"): "in 0.5 0.7",
    ("grid, modified BIC", "specificity expert 2"): "in 0.55 0.75",
    ("grid, modified BIC", "specificity gate"): "in 0.63 0.83",
}


def compare(experts, gate, labels, truth, z) -> dict[str, float]:
    """Figures of a fit with two experts, whose labels are those nearer to the truth."""
    swapped = np.sum((experts[::-1] - truth.experts) ** 2) < np.sum((experts - truth.experts) ** 2)
    if swapped:
        experts, gate, labels = experts[::-1], -gate, 1 - labels
    out = {}
    for part, ours, true in zip(PARTS, (*experts, gate), (*truth.experts, truth.gate)):
        found, real = ours[1:] != 0, true[1:] != 0
        out[f"sensitivity {part}"] = found[real].mean()
        out[f"specificity {part}"] = (~found[~real]).mean()
    out["error experts"] = np.mean((experts - truth.experts) ** 2)
    out["error gate"] = np.mean((gate - truth.gate) ** 2)
    out["clustering error"] = np.mean(labels != z)
    return out


def one_trial(family, method, seed, n=N):
    X, y, z = draw(family, n, seed)
    model = METHODS[family][method](X, y, family)
    labels = model.responsibilities(X, y).argmax(axis=1)
    line = compare(*coefficients(model), labels, TRUTHS[family], z)
    return {"family": family, "method": method, "seed": seed} | line


def run(full: bool = False) -> Report:
    tasks = [
        (family, method, seed)
        for family, methods in METHODS.items()
        for method in methods
        for seed in range(SLOW[full] if method in PATHS else QUICK[full])
    ]
    table = pd.DataFrame(trials(one_trial, tasks))
    means = table.groupby(["family", "method"], sort=False)[FIGURES].mean().reset_index()
    counts = table.groupby(["family", "method"], sort=False)["seed"].count()
    means.insert(2, "trials", counts.to_numpy())
    return Report(
        "Lasso mixtures: sparsity, estimation error, clustering error",
        {"trials": table, "means": means},
        facts(means),
        figure(means),
        [
            "The tables of the paper were not at hand: the figures beside ours are those of an "
            "independent NumPy program of the authors' algorithm (40 data sets, 20 for the grid)."
        ],
    )


def facts(means) -> list[Fact]:
    out = []
    for _, line in means.iterrows():
        known = REFERENCE.get(line["method"]) if line["family"] == "gaussian" else None
        for i, what in enumerate(FIGURES):
            out.append(
                Fact(
                    f"{line['family']}, {line['method']}: {what}",
                    line[what],
                    f"{known[i]:.3g}" if known else "",
                    TARGETS.get((line["method"], what), ""),
                )
            )
    return out


def figure(means):
    mine = means[means["family"] == "gaussian"]
    drawing, axes = panels(1, 4, size=(3.4, 3.2), sharey=True)
    place = np.arange(len(mine))[::-1]
    for axis, part in zip(axes[0], PARTS):
        for kind, colour in zip(("sensitivity", "specificity"), COLOURS):
            axis.plot(mine[f"{kind} {part}"], place, "o", ms=7, color=colour, label=kind)
            for at, method in zip(place, mine["method"]):
                if method in REFERENCE:
                    known = REFERENCE[method][FIGURES.index(f"{kind} {part}")]
                    axis.plot(known, at, "|", ms=16, color=colour)
        axis.set(xlim=(-0.05, 1.08), yticks=place, yticklabels=mine["method"])
        name(axis, "share of slopes", "", part)
    axes[0, 0].legend(frameon=False, fontsize=9, loc="center left")
    error = axes[0, 3]
    for column, mark in (("error experts", "o"), ("error gate", "s"), ("clustering error", "^")):
        error.plot(mine[column], place, mark, color=INK, mfc=MUTED, ms=6, label=column)
    error.set(xscale="log")
    error.set_xticks([0.02, 0.05, 0.1, 0.2], ["0.02", "0.05", "0.1", "0.2"])
    error.minorticks_off()
    error.legend(frameon=False, fontsize=8.5, ncols=3, loc="lower center", bbox_to_anchor=(0.45, 1))
    name(error, "error")
    return drawing


if __name__ == "__main__":
    main("lasso_table", run, __doc__)
