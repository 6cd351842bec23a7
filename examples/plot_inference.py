"""
Standard errors of gate and experts
===================================

Two kinds of customers answer a price differently, and who is of which kind depends on age. A
mixture finds both; its standard errors say what is known of the gate and of each expert.
"""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

from mixexp import MoERegressor

rng = np.random.default_rng(1)
X = pd.DataFrame({"age": rng.uniform(20, 70, 800), "price": rng.uniform(1, 5, 800)})
young = rng.random(800) < 1 / (1 + np.exp(0.15 * (X["age"] - 45)))
demand = np.where(young, 9 - 1.5 * X["price"], 4 - 0.3 * X["price"]) + 0.6 * rng.normal(size=800)
model = MoERegressor(2, gate_features=["age"], expert_features=["price"]).fit(X, demand)

# %%
# The table
# ---------
result = model.inference(X, demand)
print(result)
print(result.wald_test("`expert 0: price` = `expert 1: price`"))

# %%
# Intervals three ways
# --------------------
# The likelihood is nearly quadratic here, so intervals by the information, by the profile
# likelihood and by the bootstrap agree.
boot = model.inference(X, demand, covariance="bootstrap", n_boot=100)
slopes = [name for name in result.names if name.endswith(": price")]
kinds = {
    "information": result.conf_int().loc[slopes],
    "profile": pd.DataFrame([result.profile(name) for name in slopes], slopes, ["lower", "upper"]),
    "bootstrap": boot.conf_int(method="percentile").loc[slopes],
}
figure, axes = plt.subplots(figsize=(6.5, 2.8))
for shift, (kind, ends) in zip((-0.15, 0.0, 0.15), kinds.items(), strict=True):
    axes.hlines(np.arange(2) + shift, ends["lower"], ends["upper"], lw=3, label=kind,
                color=f"C{list(kinds).index(kind)}")  # fmt: skip
axes.plot(result.params[slopes], np.arange(2), "k|", ms=18)
axes.set(yticks=range(2), yticklabels=slopes, xlabel="slope of the price", ylim=(-0.5, 1.5))
axes.legend(loc="upper center", ncols=3)
figure.tight_layout()

# %%
# What a higher price does on average
# -----------------------------------
print(result.margins("mean", features=["price"]))
print(result.margins("gate", expert=1, features=["age"]))
plt.show()
