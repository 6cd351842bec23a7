"""
Robust experts
==============

In the tone experiment of Cohen (1980) a musician tuned either to the tone that was played or to an
octave: two straight lines. Ten equal rows far away from both are added. Gaussian experts follow
them; Student t experts do not.
"""

import matplotlib.pyplot as plt
import numpy as np

from mixexp import MoERegressor
from mixexp.datasets import load_tone

X, y = load_tone(return_X_y=True)
X, y = np.vstack([X, np.zeros((10, 1))]), np.append(y, np.full(10, 4.0))

figure, panels = plt.subplots(1, 2, figsize=(9, 3.6), sharey=True)
grid = np.linspace(0, 3, 50)[:, None]
for axes, family in zip(panels, ("gaussian", "student"), strict=True):
    model = MoERegressor(2, expert=family, gate="constant").fit(X, y)
    axes.scatter(X, y, s=10, color="0.5")
    axes.plot(grid, model.predict_experts(grid), lw=2)
    axes.set(title=f"{family} experts", xlabel="stretch ratio")
    print(family, model.coef_.ravel().round(3), f"log-likelihood {model.loglik_:.1f}")
panels[0].set(ylabel="tuned", ylim=(-0.2, 4.3))
figure.tight_layout()
plt.show()
