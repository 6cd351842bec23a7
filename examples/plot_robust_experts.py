"""
Robust experts
==============

In the tone experiment of Cohen (1980) a musician tuned either to the tone that was played or to an
octave: two straight lines. Ten equal rows far away from both are added. Gaussian experts follow
them; Student t experts and Laplace experts do not. The tails of a t law are fitted, those of a
Laplace law are given, and its lines are medians: they go exactly through some of the rows.
"""

import matplotlib.pyplot as plt
import numpy as np

from mixexp import MoERegressor
from mixexp.datasets import load_tone

X, y = load_tone(return_X_y=True)
far = np.vstack([X, np.zeros((10, 1))]), np.append(y, np.full(10, 4.0))
data = {"clean": (X, y), "ten equal outliers": far}

families = ("gaussian", "student", "laplace")
figure, panels = plt.subplots(2, 3, figsize=(10, 6), sharex=True, sharey=True)
grid = np.linspace(0, 3, 50)[:, None]
for row, (title, (rows, target)) in zip(panels, data.items(), strict=True):
    for axes, family in zip(row, families, strict=True):
        model = MoERegressor(2, expert=family, gate="constant").fit(rows, target)
        lines = model.predict_experts(grid)[:, np.argsort(model.coef_[:, 0])]
        axes.scatter(rows, target, s=10, color="0.5")
        axes.plot(grid, lines, lw=2)
        axes.set(title=f"{family}, {title}")
        print(f"{family}, {title}: slopes {np.sort(model.coef_[:, 0]).round(3)}", end=", ")
        print(f"log-likelihood {model.loglik_:.1f}")
for axes in panels[1]:
    axes.set(xlabel="stretch ratio", ylim=(-0.2, 4.3))
for axes in panels[:, 0]:
    axes.set(ylabel="tuned")
figure.tight_layout()
plt.show()
