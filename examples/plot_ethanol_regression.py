"""
Ethanol: three regimes of an engine
===================================

Brinkman (1981) burned ethanol in a test engine, 88 times. The nitrogen oxides in the exhaust
(NOx) first rise with the equivalence ratio E (how rich the mixture of fuel and air is), then fall.
One line cannot follow that. A mixture of experts finds the regimes and a line for each.
"""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

from mixexp import GaussianExpert, MoERegressor
from mixexp.datasets import load_ethanol

ethanol = load_ethanol(as_frame=True)
X, y = ethanol.data[["E"]], ethanol.target

# %%
# Fit
# ---
# Gate and experts are linear in E. The experts share one standard deviation, since all
# measurements come from one instrument. The default start tries many beginnings and keeps the best
# optimum. ``print`` shows the coefficients by feature name.

expert = GaussianExpert(tied_scale=True)
model = MoERegressor(n_experts=3, expert=expert).fit(X, y)
print(model)

# %%
# The gate separates: it changes so sharply from one expert to the next that no row says how
# sharply. The likelihood and the probabilities are fine; only the size of the gate's slopes means
# nothing. The model says so in its status.

print(model.status_.value)

# %%
# A penalty on the gate makes the changes smooth. What it costs is seen in the log-likelihood.

from mixexp import L2, SoftmaxGate

smooth = MoERegressor(n_experts=3, gate=SoftmaxGate(penalty=L2(1e-3)), expert=expert).fit(X, y)
print(f"log-likelihood {model.loglik_:.2f} without the penalty, {smooth.loglik_:.2f} with it")
print(smooth.status_.value)

# %%
# Picture
# -------
# Points have the colour of the expert that most probably made them. An expert's line is strong
# where the gate gives it the word. The band holds 90 % of new measurements.

COLOURS = np.array(["#2f6db3", "#d1762c", "#2e8b6d"])

grid = pd.DataFrame({"E": np.linspace(X["E"].min() - 0.02, X["E"].max() + 0.02, 400)})
gate = smooth.gate_proba(grid)
lines = smooth.predict_experts(grid)
low, high = smooth.predict_interval(grid, level=0.9).T
owner = smooth.responsibilities(X, y).argmax(axis=1)

figure, (top, bottom) = plt.subplots(
    2, 1, figsize=(7.2, 5.6), sharex=True, height_ratios=[3, 1], layout="constrained"
)
top.fill_between(grid["E"], low, high, color="#e3e7eb", lw=0, label="90 % of new measurements")
top.plot(grid["E"], smooth.predict(grid), color="#1f2933", lw=1.2, ls=(0, (4, 2)), label="mean")
for k, colour in enumerate(COLOURS):
    top.plot(grid["E"], np.where(gate[:, k] > 0.5, lines[:, k], np.nan), color=colour, lw=3)
    top.plot(grid["E"], lines[:, k], color=colour, lw=1, alpha=0.4)
    bottom.plot(grid["E"], gate[:, k], color=colour, lw=2)
top.scatter(X["E"], y, c=COLOURS[owner], s=22, edgecolor="white", lw=0.5, zorder=3)
top.set(ylim=(0, 4.6), ylabel="NOx (micrograms per joule)")
top.legend(frameon=False, loc="upper right")
bottom.set(ylim=(-0.03, 1.03), ylabel="gate", xlabel="equivalence ratio E")
for axes in (top, bottom):
    axes.spines[["top", "right"]].set_visible(False)
plt.show()

# %%
# The starts
# ----------
# How many distinct optima the starts met, and how often. An optimum that owes its height to a
# handful of rows is not regular, and is never returned while a regular one exists.

print(smooth.starts_[["loglik", "hits", "regular", "smallest_expert"]].head())
