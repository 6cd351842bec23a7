"""
A Lasso mixture: which columns speak, and where
===============================================

Two experts and their gate each use a few of six correlated columns: the simulation of Huynh and
Chamroukhi (2019). Maximum likelihood never says that a slope is zero. A path of Lasso fits does,
BIC chooses on it, and a refit on the support undoes the shrinkage.
"""

import matplotlib.pyplot as plt
import numpy as np

from mixexp import MoEPath, MoERegressor, MultiStart
from mixexp.datasets import MoETruth

rng = np.random.default_rng(0)
p = 6
truth = MoETruth(
    "gaussian",
    gate_coef=np.array([[2.0, 0, 0, -1, 0, 0], np.zeros(p)]),
    gate_intercept=np.array([1.0, 0]),
    coef=np.array([[0, 1.5, 0, 0, 0, 1], [1, -1.5, 0, 0, 2, 0]]),
    intercept=np.zeros(2),
    scale=np.ones(2),
)
correlation = 0.5 ** np.abs(np.subtract.outer(np.arange(p), np.arange(p)))
X = rng.multivariate_normal(np.zeros(p), correlation, 300)
y, labels = truth.sample(X, rng)

# %%
# The path
# --------
# From the strength at which every slope is zero down to little: each line is a slope. The dashed
# line is the choice of BIC, which counts the slopes that are not zero.

estimator = MoERegressor(2, start=MultiStart(n_starts=0.2, max_rounds=0))
path = MoEPath(estimator, penalties_expert=30, ratio=0.02, max_free=100).fit(X, y).result_
best = path.best("bic")
print(path.table.loc[best, ["alpha_gate", "alpha_expert", "loglik", "n_free", "certificate"]])

COLOURS = ["#2f6db3", "#d1762c", "#2e8b6d", "#b0457b", "#7a6bc4", "#8a6d3b"]
strengths = path.table["alpha_expert"]


def order_of(coef):
    """Labels are arbitrary: the order of the experts that is nearer to the truth."""
    apart = [np.sum((coef[order] - truth.coef) ** 2) for order in ([0, 1], [1, 0])]
    return [0, 1] if apart[0] <= apart[1] else [1, 0]


one, two = order_of(path.coef[best])
panels = {
    "expert 1": path.coef[:, one],
    "expert 2": path.coef[:, two],
    "gate, log odds": path.gate_coef[:, one] - path.gate_coef[:, two],
}
figure, axes = plt.subplots(1, 3, figsize=(10, 3.4), layout="constrained")
for axis, (title, slopes) in zip(axes, panels.items()):
    for j in range(p):
        axis.plot(strengths, slopes[:, j], color=COLOURS[j], lw=1.6, label=f"x{j}")
    axis.axvline(strengths[best], color="#66717c", lw=1, ls="--")
    axis.set(xscale="log", xlabel="strength", title=title)
    axis.set_xticks([0.3, 0.1, 0.03, 0.01], ["0.3", "0.1", "0.03", "0.01"])
    axis.minorticks_off()
    axis.invert_xaxis()
    axis.spines[["top", "right"]].set_visible(False)
axes[2].legend(frameon=False, ncols=2, loc="upper left")
plt.show()

# %%
# Truth, maximum likelihood, Lasso, refit
# ---------------------------------------
# Rows are the two experts and the gate's log odds, columns are x0 to x5. White is exactly zero.

relaxed = path.relaxed(X, y, "bic")
fits = {"maximum likelihood": estimator.fit(X, y), "Lasso": path.model(best), "refit": relaxed}


def slopes_of(model):
    """(3, p): expert 1, expert 2 and the gate's log odds, experts in the order of the truth."""
    order = order_of(model.coef_)
    gate = model.gate_coef_[order]
    return np.vstack([model.coef_[order], gate[0] - gate[1]])


target = np.vstack([truth.coef, truth.gate_coef[0] - truth.gate_coef[1]])
tables = {"truth": target} | {name: slopes_of(model) for name, model in fits.items()}
figure, axes = plt.subplots(1, 4, figsize=(11, 2.3), layout="constrained")
for axis, (title, values) in zip(axes, tables.items()):
    axis.imshow(values, cmap="RdBu_r", vmin=-2.5, vmax=2.5, aspect="auto")
    for (i, j), value in np.ndenumerate(values):
        if value:
            axis.text(j, i, f"{value:.1f}", ha="center", va="center", fontsize=8)
    axis.set(title=title, yticks=range(3), xticks=range(p), xticklabels=[f"x{j}" for j in range(p)])
    axis.set_yticklabels(["expert 1", "expert 2", "gate"] if title == "truth" else [""] * 3)
plt.show()

for name, values in tables.items():
    found = np.mean(values[target != 0] != 0)
    zeros = np.mean(values[target == 0] == 0)
    error = np.mean((values - target) ** 2)
    print(f"{name:20s} slopes found {found:.2f}, zeros found {zeros:.2f}, error {error:.3f}")
