"""
Groups that prefer one regime to another
========================================

Every group has odds of its own for the two regimes: a random intercept in the gate. Its posterior
says which groups lean where, and predictions for a known group use it.
"""

import matplotlib.pyplot as plt
import numpy as np

from mixexp import MixedEffectsMoERegressor

rng = np.random.default_rng(0)
group = np.repeat(np.arange(40), 12)
x = rng.uniform(-1.7, 1.7, size=480)
lean = rng.normal(size=40)
first = rng.random(480) < 1 / (1 + np.exp(-(0.3 * x + lean[group])))
y = np.where(first, 4 + x, -4 - x) + 0.5 * rng.normal(size=480)

model = MixedEffectsMoERegressor(2, expert_random=None, gate_random=["1"])
model.fit(x[:, None], y, groups=group)
print(model.variance_components_.round(2))

# %%
# Posterior modes of the groups' intercepts with two posterior standard deviations, against the
# truth.

found = model.random_effects_["group"].to_numpy()[:, 0]
spread = model.random_effects_std_["group"].to_numpy()[:, 0]
found = found * np.sign(model.intercept_[0])  # the first expert may be either regime
fig, axes = plt.subplots(figsize=(6, 4.5))
axes.errorbar(lean, found, 2 * spread, fmt="o", ms=4, lw=0.8)
axes.plot([-2.5, 2.5], [-2.5, 2.5], "k--", lw=0.8)
axes.set(xlabel="true intercept of the group in the gate", ylabel="posterior")
fig.tight_layout()
plt.show()
