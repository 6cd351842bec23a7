"""
A tree of experts: the regimes of an engine, split by split
===========================================================

A hierarchical mixture of experts decides step by step: is the mixture of fuel and air lean or
rich, and if lean, how lean? Its gate is a tree of splits with the experts at the leaves (Jordan and
Jacobs, 1994). Here the tree is grown from the data, split by split.
"""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

from mixexp import GaussianExpert, MoERegressor
from mixexp.datasets import load_ethanol
from mixexp.plotting import plot_tree
from mixexp.selection import criteria_table, grow_tree

# %%
# Growing
# -------
# Nitrogen oxides (NOx) in the exhaust of a test engine, by the equivalence ratio E and the
# compression ratio C. The gate sees E, the experts both columns, and they share one standard
# deviation. At every step each expert is split on trial, and the split that lowers BIC most is
# taken.

ethanol = load_ethanol(as_frame=True)
X, y = ethanol.data, ethanol.target
template = MoERegressor(expert=GaussianExpert(tied_scale=True), gate_features=["E"])
growth = grow_tree(template, X, y)
print(growth)

# %%
# The tree
# --------
# Every split shows what the log odds of its left branch depend on, and where both branches are
# equally likely. Every expert shows its share of the rows and its slopes.

plot_tree(growth, X)
plt.show()

# %%
# The same along E, with the rows in the colours of their experts. The slope in E changes its sign
# where the mixture of fuel and air is right.

model = growth.model
grid = pd.DataFrame({"C": X["C"].median(), "E": np.linspace(X["E"].min(), X["E"].max(), 200)})
figure, ax = plt.subplots(figsize=(6, 3.6), layout="constrained")
ax.scatter(X["E"], y, s=14, c=[f"C{k}" for k in model.responsibilities(X, y).argmax(axis=1)])
ax.plot(grid["E"], model.predict(grid), color="black", lw=1)
ax.set(xlabel="equivalence ratio E", ylabel="NOx", title="Prediction at the median of C")
plt.show()

# %%
# What the nodes say
# ------------------
# Probabilities of a node's branches are for rows that come to it. Their products along the way to
# an expert are the gate probabilities.

for name, proba in model.node_proba(X.iloc[[0, 40]]).items():
    print(f"{name:12}", proba.round(3).tolist())
print(model.gate_proba(X.iloc[[0, 40]]).round(3))

# %%
# Against the flat softmax gate
# -----------------------------
# A tree of binary splits has as many parameters as a softmax gate over the same experts, so that
# BIC compares their log-likelihoods. In one column both cut E into intervals, and the fits are
# close. The softmax gate's experts come from a search for the whole mixture at once.

flat = template.set_params(n_experts=growth.model.n_experts_).fit(X, y)
table = criteria_table([growth.model, flat], ["bic"])
table.insert(0, "gate", ["tree", "softmax"])
print(table.round(2).to_string(index=False))
