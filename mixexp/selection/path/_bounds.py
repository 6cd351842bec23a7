"""Bounds on the expected number of falsely selected columns under stability selection."""

from __future__ import annotations

import numpy as np


def worst_case(q: float, p: int, threshold: float) -> float:
    """q^2 / ((2 threshold - 1) p).

    It bounds the expected number of noise columns among the selected if their selections are
    exchangeable and the fits do no worse than guessing (Meinshausen and Buhlmann 2010, theorem 1);
    and, without any assumption, the expected number of selected columns that a fit to one half
    selects with probability at most q / p (Shah and Samworth 2013, theorem 1 with theta = q / p).
    """
    return q**2 / ((2 * threshold - 1) * p)


def unimodal(q: float, p: int, threshold: float, n_pairs: int) -> float:
    """C q^2 / p, where the shares of pairs that agree on a column are unimodal.

    It bounds the expected number of selected columns that a fit to one half selects with
    probability at most q / p (Shah and Samworth 2013, theorem 2 with theta = q / p). NaN where the
    theorem says nothing.
    """
    theta, B = q / p, n_pairs
    steps = np.ceil(round(2 * B * threshold, 9))  # frequencies are multiples of 1 / (2 B)
    tau = steps / (2 * B)
    lowest = min(0.5 + theta**2, 0.5 + 1 / (2 * B) + 0.75 * theta**2)
    if theta > 1 / np.sqrt(3) or tau <= lowest or tau < 0.5 + 1 / B:
        return np.nan
    if tau <= 0.75:
        return theta * q / (2 * (2 * tau - 1 - 1 / (2 * B)))
    return theta * q * 4 * (1 - tau + 1 / (2 * B)) / (1 + 1 / B)
