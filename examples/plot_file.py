"""
Rows in a file: fits larger than memory
=======================================

A year of taxi trips need not fit into memory. `FileDataset` reads a Parquet file block by block at
every pass, and the fit is that of the same rows in memory. Here a small file is made and fitted;
with a larger one nothing changes but the time.
"""

import tempfile
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from mixexp import FileDataset, MoERegressor

folder = tempfile.TemporaryDirectory()
path = Path(folder.name) / "trips.parquet"

# %%
# The file
# --------
# Fares go by the kilometre, or at fixed prices that are common on long trips. Of the trips before
# noon twice as many were recorded, which a column of weights undoes.

rng = np.random.default_rng(0)
schema = pa.schema([(name, pa.float64()) for name in ("km", "hour", "fare", "weight")])
with pq.ParquetWriter(path, schema) as file:
    for _ in range(6):  # row groups: a block is a large one, or several small ones
        km, hour = rng.uniform(1, 30, 5000), rng.uniform(0, 24, 5000)
        fixed = rng.uniform(size=5000) < 1 / (1 + np.exp(6 - 0.4 * km))
        fare = np.where(fixed, 42 + 0.3 * hour, 4 + 1.8 * km) + 1.5 * rng.normal(size=5000)
        weight = np.where(hour < 12, 0.5, 1.0)
        columns = {"km": km, "hour": hour, "fare": fare, "weight": weight}
        file.write_table(pa.table(columns))
print(pq.ParquetFile(path).metadata)

# %%
# Fit
# ---
# Columns are named once; ``engine_`` says where the passes ran. The gate sees the distance alone.

trips = FileDataset(path, target="fare", weight="weight")
model = MoERegressor(n_experts=2, gate_features=["km"]).fit(trips)
print(model.engine_, "in blocks of", [len(block.X) for block in trips.blocks()], "rows")
print(model)

# %%
# Predictions
# -----------
# They go block by block as well: to arrays, or to another file.

total = sum(part.sum() for part in model.predict_blocks(trips, "log_prob"))
print(f"log density of all trips, each once: {total:.1f}")
model.predict_to(trips, path.with_name("shares.parquet"), "responsibilities")
shares = pq.read_table(path.with_name("shares.parquet"))["responsibilities_0"].to_numpy()

# %%
# Picture
# -------
# The first block with the probability that the price was fixed, and the experts at noon.

block = next(trips.blocks())
km, fare = block.X[:, 0], block.y
by_km = int(np.argmax(model.coef_[:, 0]))
share = shares[: len(km)] if by_km == 1 else 1 - shares[: len(km)]
figure, ax = plt.subplots(figsize=(7.6, 4.4), layout="constrained")
some = slice(None, None, 12)
points = ax.scatter(km[some], fare[some], c=share[some], cmap="coolwarm", s=7)
line = np.linspace(1, 30, 100)
for k, colour in ((by_km, "#2f6db3"), (1 - by_km, "#a33b3b")):
    price = model.intercept_[k] + model.coef_[k] @ [line, np.full(100, 12.0)]
    ax.plot(line, price, color=colour, lw=2.5)
figure.colorbar(points, label="probability of a fixed price")
ax.set(xlabel="km", ylabel="fare")
ax.spines[["top", "right"]].set_visible(False)
plt.show()
folder.cleanup()
