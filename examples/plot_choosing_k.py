"""
How many experts? Slope heuristics and a dendrogram
===================================================

AIC and BIC charge a fixed price for each parameter. Two other ways let the fits speak: the slope
heuristic reads the price from a ladder of fits, and the dendrogram takes one fit with too many
experts and watches which of them are the same.
"""

import warnings

import matplotlib.pyplot as plt
import numpy as np
from sklearn.cluster import KMeans
from sklearn.exceptions import ConvergenceWarning

from mixexp import EM, GaussianExpert, MoERegressor
from mixexp.plotting import plot_criterion_curves, plot_dendrogram, plot_jump, plot_slope
from mixexp.selection import SlopeHeuristic, criteria_table, merge_path

# %%
# Data
# ----
# Three regimes along one column.

rng = np.random.default_rng(3)
x = np.sort(rng.uniform(-3, 3, size=400))
y = np.select([x < -1, x < 1], [2 + x, -1 - 0.5 * x], 1.5 * x - 2) + 0.4 * rng.normal(size=400)
X = x[:, None]

# %%
# A ladder of fits
# ----------------
# Slope heuristics need at least ten models that reach well beyond the right one. To be quick, each
# fit here begins at slices of x; a serious study leaves the start to the package, which is
# what ``SelectionStudy(..., criterion="slope")`` does.


def fit(n_experts):
    """A mixture from equal slices of x, with one scale for all experts."""
    slices = np.arange(len(x)) * n_experts // len(x)
    model = MoERegressor(
        n_experts, expert=GaussianExpert(tied_scale=True), start=slices, solver=EM(max_passes=300)
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # of fits with too many experts
        return model.fit(X, y)


ladder = [fit(n_experts) for n_experts in range(1, 15)]
table = criteria_table(ladder)
print(table[["n_experts", "loglik", "BIC", "ICL", "Slope heuristic"]].round(1).to_string())

# %%
# Each curve is drawn from its own best score, so that their shapes can be compared.

plot_criterion_curves(table, ["AIC", "BIC", "ICL", "Slope heuristic"])
plt.show()

# %%
# The slope
# ---------
# Beyond three experts the log-likelihood only follows the noise: it rises in proportion to the
# number of parameters. Twice that slope is the penalty. The second picture shows the slope as fewer
# and fewer models enter the regression; the band is the plateau of slopes that select the
# same model.

slope = SlopeHeuristic().result(ladder)
print(f"{ladder[slope.chosen].n_experts_} experts; penalty {slope.kappa_opt:.2f} x AIC's")
print(*slope.notes)

figure, (left, right) = plt.subplots(1, 2, figsize=(10, 3.8), layout="constrained")
plot_slope(slope, "line", left)
plot_slope(slope, "plateau", right)
plt.show()

# %%
# The same from the other side: as the price of a parameter falls, there is a constant at which
# the selected complexity explodes. Twice that constant is the penalty.

jump = SlopeHeuristic("djump").result(ladder)
print(f"{ladder[jump.chosen].n_experts_} experts")
plot_jump(jump)
plt.show()

# %%
# The dendrogram
# --------------
# One fit with too many experts is enough: experts that are the same in all but name merge at little
# height. It helps where the family is nearly right. Here are two regimes and 3 % of outliers.

x = rng.uniform(size=1500)
first = rng.uniform(size=1500) < 1 / (1 + np.exp(4 - 8 * x))
y = np.where(first, 2 - 2 * x, -1 + 2 * x) + 0.3 * rng.normal(size=1500)
y = np.where(rng.uniform(size=1500) < 0.03, rng.uniform(-3, 3, size=1500), y)
X = x[:, None]


def fit_clusters(n_experts):
    """A mixture of experts with scales of their own, from clusters of the rows."""
    clusters = KMeans(n_experts, n_init=3, random_state=0).fit_predict(np.column_stack([3 * x, y]))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        return MoERegressor(n_experts, start=clusters).fit(X, y)


fits = [fit_clusters(n_experts) for n_experts in (1, 2, 3, 4, 5)]
path = merge_path(fits[-1], X, y)
print(f"BIC counts the outliers: {criteria_table(fits)['BIC'].idxmin() + 1} experts")
print(f"the dendrogram: {path.n_experts} experts; heights {path.heights.round(2)}")
plot_dendrogram(path)
plt.show()

# %%
# The merged groups are a start for a fit of the chosen size.

print(path.refit(fits[-1], X, y))
