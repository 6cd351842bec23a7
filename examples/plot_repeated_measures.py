"""
Repeated measures: one expert for all rows of a subject
=======================================================

Thirty subjects were measured six times each. Some gain with the dose, others lose, and single
measurements are noisy: a row alone says little about its subject's kind, six rows together say it.
With ``groups=`` the rows of a subject share one expert, and the gate sees each subject once.
"""

import matplotlib.pyplot as plt
import numpy as np

from mixexp import MoERegressor

# %%
# Data
# ----
# ``age`` is one value a subject and tells the kinds apart softly; ``dose`` varies within subjects.

rng = np.random.default_rng(4)
n_subjects, n_visits = 30, 6
age = rng.uniform(-1.5, 1.5, n_subjects)
gains = rng.random(n_subjects) < 1 / (1 + np.exp(-2 * age))
subject = np.repeat(np.arange(n_subjects), n_visits)
dose = rng.uniform(-1, 1, len(subject))
y = np.where(gains[subject], dose, -dose) + 0.9 * rng.standard_normal(len(subject))
X = np.column_stack([dose, age[subject]])
columns = {"expert_features": [0], "gate_features": [1]}

# %%
# With groups and without
# -----------------------

together = MoERegressor(2, **columns).fit(X, y, groups=subject)
apart = MoERegressor(2, **columns).fit(X, y)
for name, model in (("with groups", together), ("without", apart)):
    print(f"{name:12}  slopes {np.sort(model.coef_[:, 0]).round(2)}  units {model.n_units_:.0f}")

# %%
# What is known of a subject
# --------------------------
# The posterior of a subject given all of its rows, beside that of its single rows under the same
# model. Colours are the true kinds.

up = int(together.coef_[:, 0].argmax())
first = np.arange(n_subjects) * n_visits
of_subject = together.responsibilities(X, y, groups=subject)[:, up]
of_row = together.responsibilities(X, y)[:, up]
order = np.argsort(age)
place = np.argsort(order)
colour = np.where(gains, "tab:blue", "tab:orange")

figure, axes = plt.subplots(1, 2, figsize=(9, 3.6), layout="constrained")
axes[0].scatter(place[subject], of_row, s=9, c=colour[subject], alpha=0.6)
axes[1].scatter(place, of_subject[first], s=26, c=colour)
for axis, title in zip(axes, ["Each row on its own", "All rows of the subject"], strict=True):
    axis.plot(place[order], together.gate_proba(X[first])[order, up], color="0.4", lw=1)
    axis.set(title=title, xlabel="subjects by age", ylim=(-0.03, 1.03))
axes[0].set_ylabel("probability of a positive slope")
plt.show()

# %%
# The line is the gate, which knows the age alone. Rows move little from it, subjects far.
#
# Standard errors take subjects for units
# ---------------------------------------

result = together.inference(X, y, groups=subject)
print(result)
