"""
Localised experts: a joint model of x and y
===========================================

A Gaussian gate gives every expert a place in x. The data are the two designs of Nguyen, Nguyen,
Chamroukhi and Forbes (2022): x comes from two overlapping normal laws, and y has a regression of
its own in each. In the first design the regressions are lines, in the second parabolas.
"""

import matplotlib.pyplot as plt
import numpy as np

from mixexp import GLoMERegressor, MultiStart
from mixexp.datasets import make_localised_regression

lines = make_localised_regression(1000, "lines", random_state=0)
parabolas = make_localised_regression(1000, "parabolas", random_state=0)

# %%
# Fits
# ----
# One input and one response: K experts have 6 K - 1 parameters with lines and 7 K - 1 with
# parabolas. A mixture of lines can bend, so the parabolas may also be followed by more lines.

start = MultiStart(n_starts=0.2, max_rounds=1)
fits = {
    "lines": GLoMERegressor(2, start=start).fit(*lines),
    "parabolas": GLoMERegressor(2, degree=2, start=start).fit(*parabolas),
}
for name, model in fits.items():
    print(f"{name}: {model.n_free_} parameters, joint log-likelihood {model.loglik_:.1f}")
print(fits["lines"])

# %%
# Both ways
# ---------
# The model is one of (x, y): it predicts y from x (solid, with a 90 % band), and x from y (dashed;
# for lines alone, since a parabola has no inverse).

COLOURS = ["#2f6db3", "#d1762c"]
figure, axes = plt.subplots(
    2, 2, figsize=(8.4, 5.6), sharex=True, height_ratios=[3, 1], layout="constrained"
)
grid = np.linspace(-0.6, 1.8, 300)[:, None]
for column, ((name, model), (x, y)) in enumerate(zip(fits.items(), (lines, parabolas))):
    top, bottom = axes[:, column]
    order = np.argsort(model.gate_means_[:, 0])  # from left to right
    gate = model.gate_proba(grid)[:, order]
    owner = model.responsibilities(x, y)[:, order].argmax(axis=1)
    top.scatter(x, y, c=np.array(COLOURS)[owner], s=5, alpha=0.45, lw=0)
    low, high = model.predict_interval(grid, 0.9).T
    top.fill_between(grid[:, 0], low, high, color="#1f2933", alpha=0.09, lw=0)
    top.plot(grid, model.predict(grid), color="#1f2933", lw=2, label="E[y | x]")
    if model.degree == 1:
        levels = np.linspace(np.quantile(y, 0.005), np.quantile(y, 0.995), 200)
        back = model.predict_inverse(levels)
        top.plot(back[:, 0], levels, color="#1f2933", lw=1.6, ls="--", label="E[x | y]")
    for k in range(2):
        bottom.plot(grid, gate[:, k], color=COLOURS[k], lw=2)
    top.set(title=name, ylim=(y.min() - 0.2, y.max() + 0.2), ylabel="y")
    top.legend(frameon=False)
    bottom.set(xlabel="x", ylabel="gate", ylim=(-0.03, 1.03))
for axis in axes.flat:
    axis.spines[["top", "right"]].set_visible(False)
plt.show()

# %%
# More columns than rows
# ----------------------
# Two hundred spectra of three hundred channels each, moved by one quantity y in two regimes. The
# regression of y on 300 channels has no unique fit; that of the channels on y has, and it
# converts exactly into the one that is wanted. The last fifty rows are new. Their intervals take
# the parameters as known, so with 1805 parameters from 150 rows they are too short: the number
# printed last is the share that they cover.

rng = np.random.default_rng(1)
y = rng.uniform(-1, 1, 200)
regime = (y > 0).astype(int)
channel = np.linspace(0, 1, 300)
shape = np.stack([np.sin(6 * channel), np.cos(9 * channel)])
X = shape[regime] * y[:, None] + 0.5 * regime[:, None] + rng.normal(size=(200, 300))

inverse = GLoMERegressor(2, parametrisation="inverse", start=regime[:150]).fit(X[:150], y[:150])
print(f"{inverse.n_free_} parameters; R2 on new rows {inverse.score(X[150:], y[150:]):.3f}")

low, high = inverse.predict_interval(X[150:], 0.9).T
middle = inverse.predict(X[150:])
print(
    f"share of new rows inside their 90 % intervals: {np.mean((low < y[150:]) & (y[150:] < high))}"
)
figure, axis = plt.subplots(figsize=(5, 4.4), layout="constrained")
axis.plot([-1, 1], [-1, 1], color="#9aa5b1", lw=1)
axis.errorbar(y[150:], middle, [middle - low, high - middle], fmt="o", ms=4, lw=1, color=COLOURS[0])
axis.set(xlabel="y of new rows", ylabel="predicted, with 90 % intervals")
axis.spines[["top", "right"]].set_visible(False)
plt.show()
