"""Partitions that agree with no others, found by divergences on the support."""

from __future__ import annotations

import numpy as np

from .averaging import pairwise
from .large import LargeMixture

LEAST = 3  # partitions, so that there is a majority
FACTOR = 3.0  # times the middle score, that no sound partition reaches ...
SPREADS = 4.0  # ... and so many spreads of the logarithms beyond it


def scores(mixture: LargeMixture) -> np.ndarray:
    """(M,) how far each partition's fit is from the others', in units of sampling error.

    Between partitions j and m stands the smaller of the divergences from one to the other: a
    partition that knows more experts than the others, or fewer, contains their fits or is
    contained, so that one direction is small. A divergence of order 1 / N_j + 1 / N_m is sampling
    error and is divided by that. The score is the median over the other partitions.
    """
    one_way = pairwise(mixture)
    both = np.minimum(one_way, one_way.T)
    rows = np.array([fit.n_rows for fit in mixture.fits])
    scaled = both / (1 / rows[:, None] + 1 / rows[None, :])
    np.fill_diagonal(scaled, np.nan)
    return np.nanmedian(scaled, axis=1)


def screen(mixture: LargeMixture) -> tuple[np.ndarray, np.ndarray]:
    """(M,) bool of the partitions to leave out, and their scores.

    Left out is a score beyond three times the median of all and beyond it by four spreads of the
    logarithms (1.48 median absolute deviations). More than half are never left out.

    Raises
    ------
    ValueError
        With fewer than three partitions.
    """
    M = len(mixture.fits)
    if M < LEAST:
        raise ValueError(
            f"robust=True needs at least {LEAST} local fits, so that there is a majority; got {M}."
        )
    found = scores(mixture)
    logs = np.log(np.maximum(found, 1e-300))
    off = logs - np.median(logs)
    spread = 1.4826 * np.median(np.abs(off))
    return off > np.maximum(np.log(FACTOR), SPREADS * spread), found
