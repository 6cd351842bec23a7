"""Coverage of 95 % intervals over simulated data sets: ``python -m benchmarks.coverage [n]``.

Every design draws n rows from a mixture of two regressions, fits it from the true responsibilities
and asks whether the intervals of all parameters hold the true ones.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import pandas as pd

from mixexp import MoERegressor, NotRegularError

LARGE = 1_000_000  # rows, whose estimates' errors are small against those of some hundreds


class Design(NamedTuple):
    """A law of rows, and what is fitted.

    Attributes
    ----------
    n : int
    gate, lines : (intercept, slope) of the logit of expert 1; of both experts
    noise : callable
        Standard errors of n rows.
    scale : float
    covariance : str
    family : str
    promised : bool
        Whether theory promises coverage at this n.
    """

    n: int
    gate: tuple
    lines: tuple
    noise: Callable
    scale: float = 0.5
    covariance: str = "observed"
    family: str = "gaussian"
    promised: bool = True


class Found(NamedTuple):
    """coverage: Series by parameter; replicates: intervals that were asked; lost: fits without."""

    coverage: pd.Series
    replicates: int
    lost: int


def _normal(rng, n):
    return rng.standard_normal(n)


def _skewed(rng, n):
    return (rng.gamma(4.0, size=n) - 4) / 2


def _laplace(rng, n):
    return rng.laplace(size=n)


def _exponential(rng, n):
    return rng.standard_exponential(n) - 1


RIGHT = {"laplace": _laplace}  # noise that the family has, where it is not the normal one
APART = ((-2.0, 1.0), (2.0, -1.0))
NEARER = ((-0.8, 1.0), (0.8, -1.0))
OVERLAP = ((-0.1, 0.2), (0.1, -0.2))
SAME = ((0.0, 1.0), (0.0, 1.0))

DESIGNS = {
    "well separated": Design(400, (0.0, 1.0), APART, _normal),
    "moderate": Design(600, (0.0, 1.0), NEARER, _normal),
    "poisson": Design(600, (0.0, 1.0), ((0.0, 0.5), (2.0, -0.3)), _normal, family="poisson"),
    # the density at a peak is underestimated: intervals are a little wide
    "laplace": Design(
        800, (0.0, 1.0), APART, _laplace, covariance="density", family="laplace", promised=False
    ),
    "laplace, normal noise": Design(
        800, (0.0, 1.0), APART, _normal, covariance="density", family="laplace"
    ),
    "mis-specified, sandwich": Design(1200, (0.0, 1.0), APART, _skewed, covariance="sandwich"),
    "mis-specified, observed": Design(1200, (0.0, 1.0), APART, _skewed, promised=False),
    "exponential noise, sandwich": Design(
        2400, (0.0, 1.0), APART, _exponential, covariance="sandwich", promised=False
    ),
    "overlapping": Design(400, (0.0, 1.0), OVERLAP, _normal, promised=False),
    "one expert too many": Design(400, (0.0, 0.0), SAME, _normal, promised=False),
}


def truth(design: Design) -> dict:
    """The parameters by name; scales of the standardised noise."""
    values = {"gate 1 vs 0: (intercept)": design.gate[0], "gate 1 vs 0: x0": design.gate[1]}
    for k, (intercept, slope) in enumerate(design.lines):
        values[f"expert {k}: (intercept)"] = intercept
        values[f"expert {k}: x0"] = slope
        if design.family == "gaussian":
            values[f"expert {k}: log(std. deviation)"] = np.log(design.scale)
        if design.family == "laplace":
            values[f"expert {k}: log(scale)"] = np.log(design.scale)
    return values


def least_wrong(design: Design) -> dict:
    """The parameters that a mis-specified fit estimates: those of a very large sample."""
    n = LARGE // 5 if design.family == "laplace" else LARGE  # exact regressions of medians
    X, y, labels = draw(design._replace(n=n), np.random.default_rng(1))
    model = MoERegressor(2, expert=design.family, start=labels).fit(X, y)
    return dict(model.inference(X, y, covariance=design.covariance).params)


def draw(design: Design, rng):
    """X, y and the experts of the rows."""
    x = rng.uniform(-2, 2, design.n)
    labels = (rng.random(design.n) < 1 / (1 + np.exp(-design.gate[0] - design.gate[1] * x))) * 1
    intercept, slope = np.array(design.lines)[labels].T
    eta = intercept + slope * x
    if design.family == "poisson":
        return x[:, None], rng.poisson(np.exp(eta)).astype(float), labels
    return x[:, None], eta + design.scale * design.noise(rng, design.n), labels


def study(name: str, replicates: int, seed: int = 0) -> Found:
    """Coverage of every parameter."""
    design = DESIGNS[name]
    wrong = design.noise is not RIGHT.get(design.family, _normal)
    wanted = pd.Series(least_wrong(design) if wrong else truth(design))
    hits, lost = [], 0
    for one in np.random.SeedSequence(seed).spawn(replicates):
        X, y, labels = draw(design, np.random.default_rng(one))
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                model = MoERegressor(2, expert=design.family, start=labels).fit(X, y)
                interval = model.inference(X, y, covariance=design.covariance).conf_int()
                interval = interval.loc[wanted.index]
        except NotRegularError:
            lost += 1
            continue
        inside = (interval["lower"] <= wanted) & (wanted <= interval["upper"])
        hits.append(inside)
    return Found(pd.DataFrame(hits).mean(), len(hits), lost)


def main(replicates: int = 2000) -> None:
    """One line a design: mean coverage, the lowest and the highest of a parameter."""
    for name in DESIGNS:
        found = study(name, replicates)
        low, high = found.coverage.idxmin(), found.coverage.idxmax()
        print(
            f"{name:26s} mean {found.coverage.mean():.3f}  lowest {found.coverage[low]:.3f} "
            f"({low})  highest {found.coverage[high]:.3f} ({high})  "
            f"{found.replicates} fits, {found.lost} without standard errors"
        )


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
