"""
Paths of penalties: which columns, and for whom
===============================================

442 patients with diabetes, ten measurements each, and the progression of the disease a year later
(Efron, Hastie, Johnstone and Tibshirani 2004). A mixture of two linear experts asks two questions
of every column: does it tell the two groups of patients apart, and does it matter inside a group?
"""

import matplotlib.pyplot as plt
from sklearn.datasets import load_diabetes

from mixexp import MoEPath, MoERegressor, MultiStart, StabilitySelection
from mixexp.plotting import plot_path, plot_path_curves, plot_path_surface, plot_stability

X, y = load_diabetes(return_X_y=True, as_frame=True)

# %%
# A path
# ------
# Twenty strengths, from the smallest at which no column is used down to 3 % of it, with the whole
# path again in each of three folds. The template's start makes the searches short.

template = MoERegressor(2, start=MultiStart(n_starts=0.1, max_rounds=1))
path = MoEPath(template, penalties_expert=20, ratio=0.03, searches=2, cv=3, random_state=0)
result = path.fit(X, y).result_
shown = ["alpha_gate", "alpha_expert", "n_free", "n_gate", "n_expert", "bic", "cv_loglik"]
print(result.table[shown].round(3).to_string())

# %%
# Slopes are per standard deviation of their column; the dashed line is the choice of BIC. The
# gate's slopes are those of the log odds of expert 2.

plot_path(result, "bic")
plt.show()

# %%
# Choosing
# --------
# On the left the criteria, each from its own best; in the middle the log-likelihood of rows that
# were kept aside; on the right what the fits use.

figure, axes = plt.subplots(1, 3, figsize=(12.6, 3.6), layout="constrained")
for ax, kind in zip(axes, ("criteria", "cv", "size")):
    plot_path_curves(result, kind, ax=ax)
plt.show()

for name in ("aic", "bic", "ebic", "cv"):
    line = result.table.loc[result.best(name)]
    print(f"{name:>5}: {line['n_gate']} columns in the gate, {line['n_expert']} in the experts")
print(result.model("bic"))

# %%
# A penalty shrinks what it selects. The relaxed refit keeps the choice and undoes the shrinkage.

relaxed = result.relaxed(X, y, "bic")
print(f"log-likelihood {result.model('bic').loglik_:.1f}, relaxed {relaxed.loglik_:.1f}")

# %%
# Two strengths
# -------------
# Gate and experts need not be penalised alike. On a grid of both, BIC chooses a moderate strength
# for the experts and the weakest for the gate. That is the edge of the grid: weaker ones would be
# worth a try.

grid = MoEPath(
    template, penalties_expert=10, penalties_gate=8, searches=1, ratio=0.03, random_state=0
)
plot_path_surface(grid.fit(X, y).result_, "bic")
plt.show()

# %%
# Would it be selected again?
# ---------------------------
# Stability selection walks the path in random halves of the patients and counts. No half may
# select more than four columns, so that at most 3.2 columns are expected to be selected by mistake,
# in the worst case; with ten columns that is the most that can be asked.

stability = StabilitySelection(
    template, n_pairs=10, penalties_expert=10, max_columns=4, searches=0, random_state=0
)
found = stability.fit(X, y).result_
print(found)
print(found.bounds().to_string())

figure, axes = plt.subplots(1, 2, figsize=(10.4, 3.8), layout="constrained")
plot_stability(found, ax=axes[0])
plot_stability(found, "bars", ax=axes[1])
plt.show()
