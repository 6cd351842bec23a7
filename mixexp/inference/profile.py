"""Profile-likelihood intervals of one parameter."""

from __future__ import annotations

import numpy as np
from scipy import optimize, stats

from .problem import Problem, maximise

FARTHEST = 60.0  # standard errors, beyond which an end is infinite


def profile_interval(problem: Problem, place: int, alpha: float, spread: float):
    """The values at which 2 (l - l_profile) reaches the quantile of chi-squared(1).

    Venzon and Moolgavkar (1988), "A method for computing profile-likelihood-based confidence
    intervals", Applied Statistics 37, 87-94; here the ends are found by bracketing.
    """
    if not problem.coordinates.affine:
        raise ValueError("Profiles need parameters that enter linearly; use the bootstrap.")
    value = problem.coordinates.value
    top = problem.loglik(value)
    target = stats.chi2.ppf(1 - alpha, 1) / 2
    unit = spread if np.isfinite(spread) and spread > 0 else 0.1 * (1 + abs(value[place]))
    others = np.delete(np.eye(len(value)), place, axis=1)
    known = {0.0: value}

    def drop(distance):
        """Fall of the profile log-likelihood less the target, ``distance`` units away."""
        near = min(known, key=lambda other: abs(other - distance))
        start = known[near].copy()
        start[place] = value[place] + distance * unit
        fitted = maximise(problem, start, others)
        known[distance] = fitted.value
        return top - fitted.local.loglik - target

    low, high = (float(value[place] + unit * _end(drop, sign)) for sign in (-1.0, 1.0))
    return low, high


def _end(drop, sign):
    inside, outside = 0.0, sign
    while drop(outside) < 0:
        inside, outside = outside, outside * 1.6
        if abs(outside) > FARTHEST:
            return sign * np.inf
    return optimize.brentq(drop, inside, outside, xtol=1e-5, rtol=1e-8)
