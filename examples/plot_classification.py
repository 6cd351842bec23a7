"""
Two moons: experts that share a classification
==============================================

A softmax regression cuts the plane with straight lines. Two interleaved half-moons need a bent
boundary. A mixture of softmax regressions bends it: each expert draws one straight piece, and the
gate says where each piece holds.
"""

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.colors import LinearSegmentedColormap, ListedColormap
from sklearn.datasets import make_moons

from mixexp import L2, MoEClassifier, MultinomialExpert, SoftmaxGate

X, codes = make_moons(n_samples=800, noise=0.25, random_state=1)
y = np.array(["lower", "upper"])[1 - codes]
train, test = slice(0, 400), slice(400, None)

# %%
# One expert and two
# ------------------
# The log-likelihood of new rows judges the probabilities, not only the labels. One expert is an
# ordinary softmax regression. Classes that separate make coefficients large, so both halves get a
# small ridge penalty.


def make(n_experts):
    """A mixture with a small ridge on both halves."""
    ridge = L2(3e-3)
    return MoEClassifier(
        n_experts, gate=SoftmaxGate(penalty=ridge), expert=MultinomialExpert(penalty=ridge)
    )


models = {n_experts: make(n_experts).fit(X[train], y[train]) for n_experts in (1, 2)}
for n_experts, model in models.items():
    per_row = model.log_prob(X[test], y[test]).mean()
    right = model.score(X[test], y[test])
    print(f"{n_experts} experts: log-likelihood {per_row:.3f} per new row, {right:.1%} right")

# %%
# Regions
# -------
# Left: one expert. Middle: the class regions of two experts. Right: which expert the gate
# prefers, with the boundary that this expert draws inside its region.

one, two = models[1], models[2]
across, up = np.meshgrid(np.linspace(-1.9, 2.9, 240), np.linspace(-1.5, 2.0, 200))
plane = np.column_stack([across.ravel(), up.ravel()])

CLASSES, EXPERTS = ["#2f6db3", "#d1762c"], ["#dcebe5", "#f0dce7"]
shading = LinearSegmentedColormap.from_list("classes", [CLASSES[1], "white", CLASSES[0]])
figure, axes = plt.subplots(1, 3, figsize=(11, 3.4), sharey=True, layout="constrained")
for ax, model, title in zip(axes, (one, two), ("one expert", "two experts")):
    proba = model.predict_proba(plane)[:, 0].reshape(across.shape)
    shades = ax.contourf(across, up, proba, levels=np.linspace(0, 1, 11), cmap=shading, alpha=0.6)
    ax.contour(across, up, proba, levels=[0.5], colors="#1f2933", linewidths=1.6)
    ax.set_title(
        f"{title}: {model.score(X[test], y[test]):.0%} of new rows right", loc="left", fontsize=10
    )
figure.colorbar(shades, ax=axes[:2], label="P(lower | x)", shrink=0.8, pad=0.01)

owner = two.predict_component(plane).reshape(across.shape)
axes[2].pcolormesh(across, up, owner, cmap=ListedColormap(EXPERTS), vmin=0, vmax=1)
for k, proba in enumerate(np.moveaxis(two.predict_experts(plane)[:, :, 0], 1, 0)):
    inside = np.where(owner == k, proba.reshape(across.shape), np.nan)
    axes[2].contour(across, up, inside, levels=[0.5], colors="#1f2933", linewidths=1.6)
axes[2].set_title("gate regions and experts' boundaries", loc="left", fontsize=10)
for ax in axes:
    colours = np.where(y[train] == "lower", CLASSES[0], CLASSES[1])
    ax.scatter(*X[train].T, c=colours, s=12, edgecolor="white", lw=0.3)
    ax.set(xticks=[], yticks=[])
plt.show()
