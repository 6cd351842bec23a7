"""
Two moons: experts that share a classification
==============================================

A softmax regression cuts the plane with straight lines. Two interleaved half-moons need a bent
boundary. A mixture of softmax regressions bends it: each expert draws one straight piece, and the
gate says where each piece holds.
"""

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.colors import ListedColormap
from sklearn.datasets import make_moons
from sklearn.model_selection import cross_val_score

from mixexp import L2, MoEClassifier, MultinomialExpert, SoftmaxGate

X, codes = make_moons(n_samples=400, noise=0.22, random_state=1)
y = np.array(["lower", "upper"])[1 - codes]

# %%
# How many experts?
# -----------------
# The cross-validated log-likelihood per row judges the probabilities, not only the labels. One
# expert is an ordinary softmax regression. Classes that separate make coefficients large, so both
# halves get a small ridge penalty.


def make(n_experts):
    """A mixture with a small ridge on both halves."""
    ridge = L2(1e-3)
    return MoEClassifier(
        n_experts, gate=SoftmaxGate(penalty=ridge), expert=MultinomialExpert(penalty=ridge)
    )


for n_experts in (1, 2, 3, 4):
    scores = cross_val_score(make(n_experts), X, y, scoring="neg_log_loss", cv=5)
    print(f"{n_experts} experts: {scores.mean():.3f} per row")

# %%
# Regions
# -------
# Left: one expert. Middle: the class regions of three experts. Right: which expert the gate
# prefers, with the boundary that this expert draws inside its region.

one, three = make(1).fit(X, y), make(3).fit(X, y)
across, up = np.meshgrid(np.linspace(-1.9, 2.9, 240), np.linspace(-1.5, 2.0, 200))
plane = np.column_stack([across.ravel(), up.ravel()])

CLASSES, EXPERTS = ["#2f6db3", "#d1762c"], ["#dcebe5", "#f0dce7", "#e4e0f3"]
figure, axes = plt.subplots(1, 3, figsize=(11, 3.4), sharey=True, layout="constrained")
for ax, model, title in zip(axes, (one, three), ("one expert", "three experts")):
    proba = model.predict_proba(plane)[:, 0].reshape(across.shape)
    shades = ax.contourf(across, up, proba, levels=np.linspace(0, 1, 11), cmap="RdBu", alpha=0.45)
    ax.contour(across, up, proba, levels=[0.5], colors="#1f2933", linewidths=1.6)
    ax.set_title(f"{title}: {model.score(X, y):.0%} of the rows right", loc="left", fontsize=10)
figure.colorbar(shades, ax=axes[:2], label="P(lower | x)", shrink=0.8, pad=0.01)

owner = three.predict_component(plane).reshape(across.shape)
axes[2].pcolormesh(across, up, owner, cmap=ListedColormap(EXPERTS), vmin=0, vmax=2)
for k, proba in enumerate(np.moveaxis(three.predict_experts(plane)[:, :, 0], 1, 0)):
    inside = np.where(owner == k, proba.reshape(across.shape), np.nan)
    axes[2].contour(across, up, inside, levels=[0.5], colors="#1f2933", linewidths=1.6)
axes[2].set_title("gate regions and experts' boundaries", loc="left", fontsize=10)
for ax in axes:
    colours = np.where(y == "lower", CLASSES[0], CLASSES[1])
    ax.scatter(*X.T, c=colours, s=12, edgecolor="white", lw=0.3)
    ax.set(xticks=[], yticks=[])
plt.show()
