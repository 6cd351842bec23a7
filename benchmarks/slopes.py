"""(f) Slope heuristics over 1,000 models, against ordinary lines by a peer in a loop."""

from __future__ import annotations

import numpy as np

from mixexp.selection import SlopeHeuristic

from .timing import Line, interleaved


def slopes(quick=False):
    models = 300 if quick else 1000
    complexity, contrast = _collection(models)
    found = SlopeHeuristic()
    functions = {
        "ddse": lambda: found.of(complexity, contrast),
        "djump": lambda: SlopeHeuristic("djump").of(complexity, contrast),
        "lines": lambda: _lines(complexity, -contrast),
    }
    times = interleaved(functions, 3)
    case = f"{models:,} models"
    yield Line("slopes", "robust slopes and plateaus, seconds", case, times["ddse"], "<= 1")
    yield Line(
        "slopes",
        "robust slopes and plateaus / ordinary lines by polyfit",
        case,
        times["ddse"] / times["lines"],
        "",
        f"{times['ddse']:.3f} s and {times['lines']:.3f} s",
    )
    yield Line("slopes", "dimension jump, seconds", case, times["djump"], "<= 1")


def _collection(models):
    rng = np.random.default_rng(0)
    complexity = np.arange(1.0, models + 1)
    noise = 1e-3 * rng.normal(size=models) + 1e-4 * rng.normal(size=models).cumsum()
    return complexity, 1 / complexity - 5e-4 * complexity + noise


def _lines(x, y):
    """One line for each number of points, as a loop over a least-squares routine does it."""
    return [np.polynomial.polynomial.polyfit(x[i:], y[i:], 1) for i in range(len(x) - 4)]
