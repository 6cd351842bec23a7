"""
A neural mixture of experts on a table
======================================

Simulated rents with numbers and a category as columns. What an extra square metre costs, and how
widely rents spread, depends on the district and on the age of the house. A mixture of Gaussian
experts, weighed by a Gumbel-softmax gate, has a distribution for every row.
"""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

from mixexp.neural import NeuralMoERegressor, Training

rng = np.random.default_rng(0)
n = 1500
X = pd.DataFrame(
    {
        "area": rng.uniform(20, 140, n),
        "age": rng.uniform(0, 100, n),
        "floor": rng.integers(0, 6, n),
        "district": rng.choice(["centre", "harbour", "hills"], n),
    }
)
price = X["district"].map({"centre": 16.0, "harbour": 9.0, "hills": 11.0})
price = price + np.where(X["district"] == "hills", 0.05 * X["floor"], 0.0)
price = price - np.where(X["district"] == "harbour", 0.0, 0.05 * X["age"])
spread = np.where(X["district"] == "harbour", 20.0, 5.0 + 1.0 * X["area"])
y = X["area"] * price + spread * rng.standard_normal(n)
train, test = np.arange(1000), np.arange(1000, n)

# %%
# Columns of texts become embeddings by themselves. A share of the rows decides when training stops.
model = NeuralMoERegressor(
    4,
    head="density",
    d_expert=16,
    training=Training(max_epochs=40, batch_size=128, learning_rate=1e-2, patience=10),
)
model.fit(X.iloc[train], y[train])
print(f"best epoch {model.best_epoch_} of {model.n_iter_}")

# %%
# What the experts do
# -------------------
# Each expert with the share of the rows that it answers, its mean prediction, and the columns that
# matter in its rows: by how much the squared error rises when a column is permuted among them.
print(model.explain_experts(X.iloc[test], y[test], n_repeats=2).T.round(2))

# %%
# A distribution for each row
# ---------------------------
# Intervals are narrow at the harbour and widen with the area elsewhere.
interval = model.predict_interval(X.iloc[test], 0.9)
inside = (interval[:, 0] <= y[test]) & (y[test] <= interval[:, 1])
print(f"{inside.mean():.0%} of the new rents lie in their 90 % interval")

figure, axes = plt.subplots(1, 2, figsize=(9, 3.5))
area = np.linspace(20, 140, 100)
for district, colour in {"harbour": "C0", "centre": "C1"}.items():
    rows = pd.DataFrame({"area": area, "age": 50.0, "floor": 2, "district": district})
    low, high = model.predict_interval(rows, 0.9).T
    axes[0].fill_between(area, low, high, color=colour, alpha=0.25)
    axes[0].plot(area, model.predict(rows), color=colour, label=district)
axes[0].set(xlabel="area", ylabel="rent")
axes[0].legend()
axes[1].plot(np.arange(1, model.n_iter_ + 1), model.loss_curve_, label="training")
axes[1].plot(np.arange(1, model.n_iter_ + 1), model.validation_curve_, label="validation")
axes[1].axvline(model.best_epoch_, color="0.7", lw=1)
axes[1].set(xlabel="epoch", ylabel="minus log density")
axes[1].legend()
figure.tight_layout()
plt.show()

# %%
# Files hold numbers and settings alone, no pickles: ``model.save(path)``, and
# ``NeuralMoERegressor.load(path)``.
