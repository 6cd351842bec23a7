"""
Seizures: counts with an exposure
=================================

Parents counted the epileptic seizures of one patient on 140 days (Wang, Puterman, Cockburn and Le,
1996). They watched for a different number of hours each day, so the count of a day is compared
with its hours: the exposure. From day 28 on the patient was treated.

There are bad days and good days. A mixture of two Poisson regressions finds them, and what the
treatment does to each.
"""

import matplotlib.pyplot as plt
import numpy as np

from mixexp import MoERegressor
from mixexp.datasets import load_seizure

seizure = load_seizure(as_frame=True).frame
treated = (seizure["Treatment"] == "Yes").astype(float)
X = seizure[[]].assign(treated=treated, log_day=np.log(seizure["Day"]))
X["treated x log_day"] = X["treated"] * X["log_day"]
y, hours = seizure["Seizures"], seizure["Hours"]

# %%
# Fit
# ---
# ``exposure=`` enters as log(hours) with coefficient one, so the experts describe the rate per
# hour. The gate is constant: good and bad days come in fixed proportions, as in the publication.


def make(n_experts):
    """Poisson experts with constant proportions."""
    return MoERegressor(n_experts, expert="poisson", gate="constant")


for n_experts in (1, 2, 3):
    model = make(n_experts).fit(X, y, exposure=hours)
    bic = -2 * model.loglik_ + np.log(len(y)) * model.n_free_
    print(f"{n_experts} experts: log-likelihood {model.loglik_:.2f}, BIC {bic:.1f}")

# %%
# BIC chooses two.

model = make(2).fit(X, y, exposure=hours)
print(model)

# %%
# Picture
# -------
# Rates per hour. Larger points were watched for longer. The colour is the probability that the day
# belongs to the first expert, given its count.

rates = model.predict_experts(X, exposure=np.ones(len(X)))
first = int(rates[0].argmax())
share = model.responsibilities(X, y, exposure=hours)[:, first]

figure, ax = plt.subplots(figsize=(7.6, 4.2), layout="constrained")
points = ax.scatter(
    seizure["Day"], y / hours, c=share, cmap="coolwarm", s=9 * hours, edgecolor="white", lw=0.5
)
for k, colour in ((first, "#a33b3b"), (1 - first, "#2f6db3")):
    for part in (treated == 0, treated == 1):
        ax.plot(seizure["Day"][part], rates[part, k], color=colour, lw=2.5)
ax.axvline(27.5, color="#66717c", lw=1, ls=":")
ax.text(28.5, ax.get_ylim()[1] * 0.93, "treatment begins", color="#66717c")
figure.colorbar(points, label="probability of the expert with many seizures")
ax.set(xlabel="day", ylabel="seizures per hour")
ax.spines[["top", "right"]].set_visible(False)
plt.show()

# %%
# Predictions need the exposure of the new days as well: here 90 % intervals for a day of four and
# a day of twelve hours, late in the treatment.

late = X.tail(1)
for length in (4, 12):
    low, high = model.predict_interval(late, exposure=[length], level=0.9)[0]
    print(f"{length} hours: {low:.0f} to {high:.0f} seizures")
