"""
How fast a fit approaches the truth
===================================

The Kullback-Leibler divergence between the true law of y given x and a fitted one, as the sample
grows: the experiment of Nguyen, Nguyen, Chamroukhi and Forbes (2022), made small. On log-log axes
a model that contains the truth falls with slope -1. One that does not contain it stops at the
distance between the two, unless it may grow with the sample.
"""

import warnings

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from sklearn.exceptions import ConvergenceWarning

from mixexp import GLoMERegressor, MultiStart
from mixexp.datasets import make_localised_regression
from mixexp.selection import BIC

# five experts are too many for some of the samples, which is for BIC to say
warnings.simplefilter("ignore", ConvergenceWarning)
SIZES = [500, 1000, 2000, 4000]
START = MultiStart(n_starts=0.05, max_rounds=0)


def divergence(model, truth, n=5000):
    """Monte Carlo on fresh rows: r - 1 - log r has the mean of -log r, and far less variance."""
    rng = np.random.default_rng(1)
    X = truth.sample_inputs(n, rng)
    y, _ = truth.sample(X, rng)
    log_ratio = model.log_prob(X, y) - truth.log_prob(X, y)
    return np.mean(np.expm1(log_ratio) - log_ratio)


# %%
# Three models
# ------------
# In the design "lines" two affine experts are the truth. In "parabolas" they are not: there two
# experts are compared with as many as BIC likes, between two and five.


def fits(design, n, seed):
    """Divergences by model, and the number that BIC likes."""
    X, y, truth = make_localised_regression(n, design, random_state=seed, return_truth=True)
    two = GLoMERegressor(2, start=truth.z).fit(X, y)
    yield f"{design}: two experts", divergence(two, truth), 2
    if design == "parabolas":
        tried = [two] + [GLoMERegressor(K, start=START).fit(X, y) for K in (3, 4, 5)]
        best = tried[np.argmin(BIC().scores([model.fit_summary_ for model in tried]))]
        yield f"{design}: chosen by BIC", divergence(best, truth), best.n_experts_


lines = [
    (n, seed, *found)
    for design, seeds in (("lines", 8), ("parabolas", 1))
    for n in SIZES
    for seed in range(seeds)
    for found in fits(design, n, seed)
]
table = pd.DataFrame(lines, columns=["n", "seed", "model", "divergence", "experts"])
means = table.pivot_table("divergence", "n", "model")
print(means.round(4))
print(table[table["model"].str.contains("BIC")].groupby("n")["experts"].apply(list).to_string())

# %%
# Slopes
# ------
# For regular models twice n times the divergence is about the number of parameters that matter, so
# the divergence itself is about a constant over n.

figure, axis = plt.subplots(figsize=(6.4, 4.2), layout="constrained")
for model, colour in zip(means, ["#2f6db3", "#d1762c", "#2e8b6d"]):
    slope, level = np.polyfit(np.log(SIZES), np.log(means[model]), 1)
    axis.plot(SIZES, means[model], "o", color=colour)
    axis.plot(
        SIZES,
        np.exp(level) * np.array(SIZES) ** slope,
        color=colour,
        label=f"{model} ({slope:.2f})",
    )
axis.set(xscale="log", yscale="log", xlabel="n", ylabel="KL(truth, fit)")
axis.set_xticks(SIZES, [str(n) for n in SIZES])
axis.minorticks_off()
axis.legend(frameon=False, title="slope in brackets", alignment="left")
axis.spines[["top", "right"]].set_visible(False)
plt.show()
