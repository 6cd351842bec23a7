"""The Lasso against the oracle as p grows. Nguyen et al., an l1-oracle inequality (2009.10622).

Fixed n, fixed sparsity (two slopes an expert, one column in the gate), and p columns of which all
others are noise. The strength follows the theorem's rate, c sqrt(log(2 p + 1) / n). The theorem's
own constant is far above the strength at which every slope is zero, so a few c are shown instead:
c = 1 is about the largest gradient of p columns of noise for an expert with half of the rows. The
oracle knows the support and is fitted by maximum likelihood. Slopes are penalised in units of the
expert's scale (the true scales are one): otherwise the criterion has no maximum for p > n, and the
theorem bounds the parameters instead. Fits begin at the true labels, since the claim is about the
global optimum; "searched" starts know nothing.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from mixexp import L1, GaussianExpert, MoERegressor, MultiStart, SoftmaxGate
from mixexp.datasets import MoETruth

from ._glome import Fresh, divergence
from ._report import Fact, Report, main, trials
from ._style import COLOURS, INK, MUTED, name, panels

N = 500
SIZES = {False: (10, 30, 100, 300, 1000), True: (10, 30, 100, 300, 1000, 3000)}
TRIALS = {False: 10, True: 30}
CONSTANTS = (0.35, 0.5, 0.7, 1.0)
SEARCHED = 0.5  # the constant at which fits are also searched for
FRESH = 2000
SUPPORT = np.array([[True, True, False], [True, False, True]])  # experts, first three columns
GATE_COLUMN = 3
SEARCH = MultiStart(n_starts=0.3, max_rounds=0)


def truth(p) -> MoETruth:
    """Slopes of 2 and -2, levels of 3 and -3, a gate slope of 2.5, scales of one."""
    coef, gate = np.zeros((2, p)), np.zeros((2, p))
    coef[0, :3], coef[1, :3] = (2, -2, 0), (-2, 0, 2)
    gate[0, GATE_COLUMN] = 2.5
    return MoETruth("gaussian", gate, np.zeros(2), coef, np.array([3.0, -3.0]), scale=np.ones(2))


def norm(law) -> float:
    """L1 norm of the slopes, those of the gate against a baseline."""
    gate = law.gate_coef[0] - law.gate_coef[1]
    return float(np.abs(law.coef).sum() + np.abs(gate).sum())


def strength(c, p, n) -> float:
    return float(c * np.sqrt(np.log(2 * p + 1) / n))


def lasso(X, y, lam, start):
    """Slopes of gate and experts penalised alike on the raw columns, as in the theorem."""
    penalty = L1(lam, weights=1 / X.std(axis=0))
    gate, expert = SoftmaxGate(penalty=penalty), GaussianExpert(penalty=penalty, scale_free=True)
    return MoERegressor(2, gate=gate, expert=expert, start=start).fit(X, y)


def oracle(X, y, labels):
    """Maximum likelihood on the true support."""
    keep = L1(1.0, weights=np.where(SUPPORT, 0, np.inf))
    model = MoERegressor(
        2,
        expert=GaussianExpert(penalty=keep),
        expert_features=[0, 1, 2],
        gate_features=[GATE_COLUMN],
        start=labels,
    )
    return model.fit(X, y)


def draw(p, seed, n=N):
    """X, y, labels, and fresh rows of the truth."""
    rng, law = np.random.default_rng([seed, p]), truth(p)
    X, new = rng.standard_normal((n, p)), rng.standard_normal((FRESH, p))
    (y, labels), (drawn, _) = law.sample(X, rng), law.sample(new, rng)
    return X, y, labels, Fresh(new, drawn, law.log_prob(new, drawn))


def one_trial(p, seed, n=N):
    """A line for every constant."""
    X, y, labels, fresh = draw(p, seed, n)
    best = divergence(oracle(X, y, labels), fresh)
    lines = []
    for c in CONSTANTS:
        lam = strength(c, p, n)
        model = lasso(X, y, lam, labels)
        hits = int(np.sum(model.coef_[:, :3][SUPPORT] != 0))
        line = {"p": p, "seed": seed, "c": c, "strength": lam, "oracle": best}
        line["lasso"], line["bound"] = divergence(model, fresh), lam * norm(truth(p))
        line["true slopes"], line["other slopes"] = hits, int(np.sum(model.coef_ != 0)) - hits
        if c == SEARCHED:
            found = lasso(X, y, lam, SEARCH)
            line["searched"] = divergence(found, fresh)
            line["gain of search"] = found.objective_path_[-1] - model.objective_path_[-1]
        lines.append(line)
    return lines


def run(full: bool = False) -> Report:
    tasks = [(p, seed) for p in SIZES[full][::-1] for seed in range(TRIALS[full])]
    table = pd.DataFrame([line for lines in trials(one_trial, tasks) for line in lines])
    means = table.groupby(["c", "p"]).mean().drop(columns="seed").reset_index()
    return Report(
        "The Lasso and the oracle as p grows",
        {"trials": table, "means": means},
        facts(table, means),
        figure(means),
        [f"n = {N}, {TRIALS[full]} data sets for each p; the same data sets for every constant."],
    )


def growth(means) -> float:
    """Exponent of the divergence in log(2 p + 1): least squares on log-log axes."""
    x, y = np.log(np.log(2 * means["p"] + 1)), np.log(means["lasso"])
    return float(np.polyfit(x, y, 1)[0])


def facts(table, means) -> list[Fact]:
    """The theorem bounds the divergence by about strength times norm, up to a remainder."""
    ratio = (means["lasso"] / means["bound"]).max()
    searched = table[table["c"] == SEARCHED]
    reached = np.mean(searched["gain of search"] > -1e-6)
    out = [
        Fact("largest divergence over (strength x L1 norm)", ratio, "about 1 or less", "<= 1"),
        Fact(f"share of searches that reach the optimum near the truth, c = {SEARCHED}", reached),
    ]
    for c, mine in means.groupby("c"):
        last = mine.iloc[-1]
        where = f"c = {c}"
        out += [
            Fact(f"exponent of the divergence in log(2 p + 1), {where}", growth(mine)),
            Fact(f"p = {last['p']:.0f}: divergence of the Lasso, {where}", last["lasso"]),
            Fact(f"p = {last['p']:.0f}: of the oracle", last["oracle"]),
            Fact(f"p = {last['p']:.0f}: true slopes found of 4, {where}", last["true slopes"]),
            Fact(f"p = {last['p']:.0f}: other slopes, {where}", last["other slopes"]),
        ]
    return out


def figure(means):
    drawing, axes = panels(1, 2)
    left, right = axes[0]
    for (c, mine), colour in zip(means.groupby("c"), COLOURS):
        left.plot(mine["p"], mine["lasso"], "o-", ms=4, color=colour, label=f"c = {c}")
        right.plot(
            mine["p"], mine["lasso"] / mine["bound"], "o-", ms=4, color=colour, label=f"c = {c}"
        )
    one = means[means["c"] == SEARCHED]
    left.plot(
        one["p"], one["searched"], "x", color=COLOURS[1], ms=8, label=f"c = {SEARCHED}, searched"
    )
    left.plot(one["p"], one["oracle"], "s-", ms=4, color=INK, label="oracle")
    left.set(xscale="log", yscale="log")
    left.legend(frameon=False, fontsize=8.5, ncols=2)
    left.set_ylim(top=left.get_ylim()[1] * 4)  # room for the legend
    name(left, "p", "KL(truth, fit)", f"n = {N}")
    right.axhline(1, color=MUTED, lw=1, ls=(0, (4, 3)))
    right.set(xscale="log", ylim=(0, 1.1))
    name(right, "p", "", "divergence over (strength x norm of the truth)")
    return drawing


if __name__ == "__main__":
    main("lasso_oracle", run, __doc__)
