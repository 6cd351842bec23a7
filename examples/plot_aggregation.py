"""
Two hospitals, one mixture, and no row exchanged
================================================

Two partitions see different parts of the line: the first x below 0.7, the second x above 0.3. Each
fits two experts to its own rows, and sends coefficients, the number of rows, and mean and
covariance of x. The combined mixture is right on the whole line; a local fit knows little of where
its partition has no rows. (The toy data of Chamroukhi and Pham, 2023, arXiv:2312.09877.)
"""

import tempfile
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from scipy.special import expit

from mixexp import LocalFit, MoERegressor, aggregate, load
from mixexp.distributed import local_statistics, pooled_inference, refine


def draw(low, high, n, rng):
    x = rng.uniform(low, high, n)
    first = rng.random(n) < expit(2 - 4 * x)
    mean = np.where(first, 2.5 * x - 1.5, -1.8 * x + 3)
    return x[:, None], mean + np.sqrt(0.08) * rng.standard_normal(n)


rng = np.random.default_rng(3)
rows = {"west": draw(-3, 0.7, 100, rng), "east": draw(0.3, 3, 100, rng)}
folder = Path(tempfile.mkdtemp())

# %%
# In each hospital. The files hold arrays and plain values, and nothing of a row.

local = {}
for name, (X, y) in rows.items():
    local[name] = MoERegressor(2).fit(X, y)
    LocalFit.of(local[name], X).save(folder / f"{name}.mixexp")

# %%
# At the centre. Without rows of its own it draws the support from the moments in the files; they
# also say which hospital knows which part of the line.

fits = [LocalFit.load(folder / f"{name}.mixexp") for name in rows]
model = aggregate(fits, 2, weighting="covariates")
print(model.summary())

# %%
# One round more: the hospitals return sums at the combined parameters, and the centre takes a
# Newton step. It has standard errors then.

model.save(folder / "combined.mixexp")
sums = [local_statistics(load(folder / "combined.mixexp"), X, y) for X, y in rows.values()]
refined = refine(model, sums)
print(pooled_inference(refined).summary())

# %%
# Fits and truth, where each of them has rows and where not.

x = np.linspace(-3, 3, 301)
truth = expit(2 - 4 * x) * (2.5 * x - 1.5) + expit(4 * x - 2) * (-1.8 * x + 3)
fig, axes = plt.subplots(1, 3, figsize=(9.5, 3.4), layout="constrained", sharey=True)
shown = {"west alone": local["west"], "east alone": local["east"], "combined": refined}
for ax, (title, fit) in zip(axes, shown.items(), strict=True):
    for (name, (X, y)), colour in zip(rows.items(), ("tab:blue", "tab:orange"), strict=True):
        own = title in (f"{name} alone", "combined")
        ax.plot(X[:, 0], y, ".", ms=4, color=colour, alpha=0.6 if own else 0.12)
    ax.plot(x, truth, color="0.6", lw=4, label="truth")
    ax.plot(x, fit.predict(x[:, None]), color="0.1", label="E[y | x]")
    error = np.sqrt(np.mean((fit.predict(x[:, None]) - truth) ** 2))
    ax.set(title=f"{title}: error {error:.2f}", xlabel="x", ylim=(-10, 4))
axes[0].legend(loc="lower right", frameon=False)
axes[0].set_ylabel("y")
plt.show()
