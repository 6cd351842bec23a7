"""Hit rates of the default start on the reference cases: case x hits x CPU seconds x passes.

    python benchmarks/starts.py REFERENCE_DIR [--seeds 20] [--only tone ethanol] [--effort 1.0]

``REFERENCE_DIR`` holds ``reference.json`` and ``data/``. A hit is a regular optimum within 1e-4
(0.05 where the gate separates) of the best one known, or above it. A set-pass is one pass over
the table for one parameter set.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from mixexp.em.driver import EM
from mixexp.em.engines import MemoryEngine
from mixexp.em.fitting import fit_rows
from mixexp.em.params import size
from mixexp.em.start import MultiStart
from tests.reference import cases as reference

COUNT = [0]


def counted(run):
    def wrapper(self, model, params):
        COUNT[0] += size(params)
        return run(self, model, params)

    return wrapper


def measure(case, frame, seeds, effort):
    """Differences to the best known value, CPU seconds and set-passes over the seeds."""
    model, rows = reference.build(case, frame)
    differences, seconds, passes, status = [], [], [], []
    for seed in seeds:
        shuffled = reference.shuffled(rows, seed)
        before, COUNT[0] = time.process_time(), 0
        fit = fit_rows(model, shuffled, start=MultiStart(effort), solver=EM(), seed=seed)
        seconds.append(time.process_time() - before)
        passes.append(COUNT[0])
        differences.append(fit.summary.loglik - case["mle"]["loglik"] if fit.regular else -np.inf)
        status.append(fit.status.name)
    return np.array(differences), np.mean(seconds), int(np.mean(passes)), status


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("reference", type=Path)
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--only", nargs="*", default=[])
    parser.add_argument("--effort", type=float, default=1.0)
    parser.add_argument("--skip", nargs="*", default=[])
    parser.add_argument("--min-K", type=int, default=1)
    options = parser.parse_args()
    MemoryEngine.run = counted(MemoryEngine.run)
    total = 0.0
    for case in json.loads((options.reference / "reference.json").read_text())["cases"]:
        if not reference.supported(case) or case["K"] < options.min_K:
            continue
        if any(part in case["id"] for part in options.skip) or (
            options.only and not any(part in case["id"] for part in options.only)
        ):
            continue
        frame = pd.read_csv(options.reference / case["data"], dtype={"Replicate": str})
        difference, seconds, passes, status = measure(
            case, frame, range(options.seeds), options.effort
        )
        tolerance = 0.05 if case["mle"]["boundary"] else 1e-4
        hits = int((difference >= -tolerance).sum())
        misses = sorted({f"{d:.4f}" for d in difference if d < -tolerance})
        higher = f"  higher by {difference.max():.4f}" if difference.max() > 1e-4 else ""
        total += seconds
        print(
            f"{case['id']:24s} {hits:3d}/{options.seeds}  {seconds:7.3f} s  {passes:8d}  "
            f"{'B' if case['mle']['boundary'] else ' '} {sorted(set(status))} "
            f"{misses[:4]}{higher}",
            flush=True,
        )
    print(f"sum of mean seconds {total:.1f}")


if __name__ == "__main__":
    main()
