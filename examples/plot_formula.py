"""
A formula for experts and gate
==============================

The ethanol data again (Brinkman, 1981): nitrogen oxides in the exhaust of an engine, by the
equivalence ratio E of air and fuel and the compression ratio C. A formula says that the experts are
parabolas in E with the compression beside them, and that the gate sees E alone.
"""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

from mixexp import SoftmaxGate, moe
from mixexp.datasets import load_ethanol
from mixexp.penalties import L2

frame = load_ethanol(as_frame=True).frame
gate = SoftmaxGate(penalty=L2(1e-3))
model = moe("NOx ~ poly(E, 2) + C | E", frame, n_experts=2, gate=gate)
print(model.summary())

# %%
# New rows are encoded as the training rows were
# ----------------------------------------------
grid = pd.DataFrame({"E": np.linspace(frame["E"].min(), frame["E"].max(), 200), "C": 12.0})
low, high = model.predict_interval(grid, 0.9).T

figure, axes = plt.subplots(figsize=(6.5, 4))
axes.fill_between(grid["E"], low, high, alpha=0.2, label="90 % of new targets, C = 12")
axes.plot(grid["E"], model.predict(grid), label="mean, C = 12")
axes.scatter(frame["E"], frame["NOx"], s=12, color="0.3", label="data")
axes.set(xlabel="E", ylabel="NOx")
axes.legend()
figure.tight_layout()
plt.show()
