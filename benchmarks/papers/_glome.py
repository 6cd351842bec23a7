"""Collections of localised experts over K: how they are fitted, chosen and measured.

Two ways to optimise, since the slope heuristics look at how well large models are fitted:

- "single start": plain EM from one partition around random rows with xLLiM's stop, which is what
  the authors' code amounts to;
- "search": the package's own search, each K from the fit with one expert less, with part of the
  default effort.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from mixexp import EM, GLoMERegressor, MultiStart
from mixexp.selection import BIC, SlopeHeuristic

LEAST_GAIN = 1e-3  # of what was gained so far: xLLiM stops below
MOST = 101  # passes: one of the initialiser, and xLLiM's limit
BLOCK = 20  # passes between two looks at the path
EFFORT = MultiStart(n_starts=0.05, max_rounds=0)
CRITERIA = {
    "djump": SlopeHeuristic("djump"),
    "ddse": SlopeHeuristic("ddse"),
    "ddse (capushe)": SlopeHeuristic("ddse", compat="capushe"),
    "bic": BIC(),
}


def _partition(X, y, K, rng):
    """Each row to the nearest of K random ones, in the units given: xLLiM's start."""
    rows = np.column_stack([X, y])
    centres = rows[rng.choice(len(rows), K, replace=False)]
    return np.argmax(rows @ centres.T - 0.5 * np.sum(centres**2, axis=1), axis=1)


def single_starts(X, y, counts, rng):
    """Plain EM from one random partition each, up to where xLLiM stops."""
    return [_single_start(X, y, K, _partition(X, y, K, rng)) for K in counts]


def _single_start(X, y, K, labels):
    """In blocks of passes, each from where the one before ended."""
    path, start = [], labels
    while True:
        again = len(path) > 0  # a block begins with the last objective of the one before
        block = _plain(X, y, K, start, min(BLOCK, MOST - len(path)) + again)
        longer = path + list(block.objective_path_[again:])
        end = _xllim_stop(longer)
        if end == len(longer):
            return block
        if end is not None:
            return _plain(X, y, K, start, end - len(path) + again)
        path, start = longer, block


def _plain(X, y, K, start, passes):
    """Nothing but the number of passes ends this run."""
    solver = EM(max_passes=passes, tol=0, gradient_tol=0, acceleration=0)
    return GLoMERegressor(K, start=start, solver=solver).fit(X, y)


def _xllim_stop(path):
    """Passes after which xLLiM ends; None where the path is too short to tell.

    Its initialiser makes one iteration of EM for a Gaussian mixture, here the first; then it
    stops when the third or a later iteration gains less than a thousandth of the whole rise.
    """
    values = path[1:]
    for i in range(2, len(values)):
        if values[i] - values[i - 1] <= LEAST_GAIN * np.ptp(values[: i + 1]):
            return i + 2
    return len(path) if len(path) >= MOST else None


def searches(X, y, counts, rng):
    """The package's search, each from the fit with one expert less."""
    out, start = [], EFFORT
    for K in counts:
        model = GLoMERegressor(K, start=start, random_state=int(rng.integers(2**31))).fit(X, y)
        start = model.set_params(start=EFFORT)
        out.append(model)
    return out


OPTIMISERS: dict[str, Callable[..., list]] = {
    "single start": single_starts,
    "search": searches,
}


def chosen_experts(fits) -> dict[str, float]:
    """Number of experts that each criterion chooses; NaN where it finds none."""
    out = {}
    for name, criterion in CRITERIA.items():
        try:
            scores = criterion.scores([fit.fit_summary_ for fit in fits])
            out[name] = float(fits[int(np.argmin(scores))].n_experts_)
        except ValueError:  # no jump, or no plateau that is long enough
            out[name] = np.nan
    return out


class Fresh(NamedTuple):
    """Rows drawn from the truth, on which divergences are estimated."""

    X: np.ndarray
    y: np.ndarray
    log_prob: np.ndarray

    @classmethod
    def of(cls, truth, n: int, seed: int) -> Fresh:
        rng = np.random.default_rng(seed)
        X = truth.sample_inputs(n, rng)
        y, _ = truth.sample(X, rng)
        return cls(X, y, truth.log_prob(X, y))


def divergence(model: Any, fresh: Fresh) -> float:
    """Monte Carlo mean over x of KL(truth, model) of the laws of y given x.

    r = model / truth has mean one under the truth, so that r - 1 may be added with any weight to
    -log r. The best weight is about one near the truth, where the variance nearly vanishes, and
    about zero far from it, where r has heavy tails.
    """
    log_ratio = model.log_prob(fresh.X, fresh.y) - fresh.log_prob
    excess = np.expm1(log_ratio)
    spread = np.var(excess)
    if spread == 0:
        return 0.0
    weight = np.cov(log_ratio, excess, bias=True)[0, 1] / spread
    return float(np.mean(weight * excess - log_ratio))
