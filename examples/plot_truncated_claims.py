"""
Claims above a deductible and below a limit
===========================================

Claims below the deductible are not filed, those above the limit are known as "more than the limit".
A mixture that is told so finds the law of the claims themselves; one that is not is biased at both
ends.
"""

import matplotlib.pyplot as plt
import numpy as np

from mixexp import MoERegressor, intervals

rng = np.random.default_rng(4)
n, deductible, limit = 4000, 2.0, 25.0
age = rng.uniform(20, 80, n)
large = rng.random(n) < 1 / (1 + np.exp(-(age - 50) / 10))
claim = np.exp(np.where(large, 2.8, 1.2) + 0.45 * rng.normal(size=n))

filed = claim > deductible
X, paid = age[filed, None], np.minimum(claim[filed], limit)
target = intervals(paid, np.where(paid == limit, np.inf, paid), truncated_below=deductible)

settings = {"expert": "lognormal", "expert_features": []}  # age speaks through the gate alone
told = MoERegressor(2, **settings).fit(X, target)
naive = MoERegressor(2, **settings).fit(X, paid)
print("median of the experts, told :", np.exp(np.sort(told.intercept_)).round(2))
print("median of the experts, naive:", np.exp(np.sort(naive.intercept_)).round(2))
print("median of the experts, truth:", np.exp([1.2, 2.8]).round(2))

# %%
# The mean claim by age, of all claims, filed or not.

grid = np.linspace(20, 80, 100)[:, None]
share = 1 / (1 + np.exp(-(grid[:, 0] - 50) / 10))
truth = share * np.exp(2.8 + 0.45**2 / 2) + (1 - share) * np.exp(1.2 + 0.45**2 / 2)
fig, axes = plt.subplots(figsize=(7, 4))
axes.plot(grid, truth, "k--", label="truth")
axes.plot(grid, told.predict(grid), label="deductible and limit in the likelihood")
axes.plot(grid, naive.predict(grid), label="both ignored")
axes.set(xlabel="age", ylabel="mean claim", ylim=(0, None))
axes.legend(frameon=False)
fig.tight_layout()
plt.show()
