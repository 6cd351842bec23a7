"""
Contexts: what operators know of a process
==========================================

A process runs in two regimes, one after the other and back. Nobody recorded the regimes, but the
operators remember some spans of it, the ends of each less surely than its middle. Possibilities
carry this into the fit, which then names its experts, and shows where memory and data disagree.
"""

import matplotlib.pyplot as plt
import numpy as np

from mixexp import (
    ContextualMoERegressor,
    MoERegressor,
    possibility_from_tags,
    possibility_trapezoid,
)

# %%
# Data
# ----
# The fouled regime holds from 0.4 to 0.7. The first column, a temperature, tells the regimes apart
# softly; the second, a feed, acts with opposite signs in them.


def process(rng, n):
    time = (np.arange(n) + 0.5) / n
    fouled = (time > 0.4) & (time <= 0.7)
    X = np.column_stack([rng.standard_normal(n) + 1.4 * fouled, rng.standard_normal(n)])
    mean = np.where(fouled, 1 + 1.5 * X[:, 1], -1 - X[:, 1])
    return time, X, mean + 0.4 * rng.standard_normal(n), fouled


rng = np.random.default_rng(1)
time, X, y, fouled = process(rng, 300)
_, X_new, y_new, _ = process(rng, 2000)

# %%
# What is remembered
# ------------------
# Each span is a trapezoid on time: certain on its core, not at all outside its support. A tag
# takes from the other context what it is certain of; rows without tags say nothing. The second
# span of clean operation is remembered wrongly: it begins before the fouled regime ended.

spans = {
    "clean": [((0.10, 0.20), (0.12, 0.18)), ((0.66, 0.74), (0.67, 0.73))],
    "fouled": [((0.50, 0.60), (0.52, 0.58))],
}
tags = {
    name: 0.95 * np.max([possibility_trapezoid(time, *span) for span in given], axis=0)
    for name, given in spans.items()
}
possible = possibility_from_tags(tags)
model = ContextualMoERegressor(["clean", "fouled"]).fit(X, y, possibilities=possible)
print(model.summary())

# %%
# Predictions use the gate alone; they are about those of the plain mixture, whose experts have no
# names.

plain = MoERegressor(2).fit(X, y)
for name, fit in (("contextual", model), ("plain", plain)):
    print(f"{name:10}  RMSE of new rows {np.sqrt(np.mean((y_new - fit.predict(X_new)) ** 2)):.3f}")

# %%
# Where memory and data disagree
# ------------------------------
# The conflict of a row is -log of how possible it is said to be that it belongs where the data put
# it. It is large in the span that was remembered wrongly, up to 0.7.

found = model.context_agreement(X, y, possibilities=possible)
print(found)
posterior = model.responsibilities(X, y)[:, 1]

figure, axes = plt.subplots(3, 1, figsize=(8, 6.2), sharex=True, layout="constrained")
for name, colour in (("clean", "tab:blue"), ("fouled", "tab:orange")):
    axes[0].fill_between(time, tags[name], color=colour, alpha=0.5, lw=0, label=name)
axes[0].legend(loc="upper left", frameon=False)
axes[1].scatter(time, posterior, s=10, c=np.where(fouled, "tab:orange", "tab:blue"))
axes[2].vlines(time, 0, found.conflict, color="0.3", lw=1)
labels = ["certainty of the tags", "posterior of fouled,\nby the data alone", "conflict (nats)"]
for axis, label in zip(axes, labels, strict=True):
    axis.set_ylabel(label)
axes[2].set_xlabel("time; the fouled regime is shaded")
for axis in axes:
    axis.axvspan(0.4, 0.7, color="0.92", zorder=0)
plt.show()
