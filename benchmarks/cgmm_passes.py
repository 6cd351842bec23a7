"""Runs in the interpreter that has cgmm: CPU seconds of a fit with a given number of passes."""

import sys
import time

import numpy as np
from cgmm import MixtureOfExpertsRegressor

folder, n, p, K, passes = sys.argv[1], *map(int, sys.argv[2:6])
y = np.fromfile(f"{folder}/y.bin")[:n]
X = np.fromfile(f"{folder}/X.bin").reshape(p, -1).T[:n]
model = MixtureOfExpertsRegressor(n_components=K, max_iter=passes, tol=0.0, random_state=0)
began = time.process_time()
model.fit(X, y)
print(f"ANSWER {time.process_time() - began:.6f} {passes} {model.score(X, y) * n:.9f}")
