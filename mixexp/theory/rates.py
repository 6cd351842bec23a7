"""`rate_study`: fits to draws of a known truth, at growing sample sizes."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from joblib import delayed
from numpy.typing import NDArray
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning

from mixexp.em.workers import in_order
from mixexp.inference import MixingMeasure, voronoi_loss
from mixexp.theory.designs import RateDesign
from mixexp.theory.hellinger import hellinger
from mixexp.theory.rate_result import Floats, RateStudy

STARTS = ("truth", "search")


def rate_study(
    design: RateDesign,
    sizes: Sequence[int] | None = None,
    *,
    replicates: int = 20,
    starts: Sequence[str] = STARTS,
    kind: str = "auto",
    n_fresh: int = 5000,
    n_jobs: int | None = None,
    random_state: int = 0,
) -> RateStudy:
    """Losses of maximum likelihood at growing sample sizes, with the slopes of their decay.

    Every replicate draws rows of the truth and fits them from each of the starts. A replicate
    depends on the seed, its number and its size alone: a study with more sizes or replicates
    contains the smaller one.

    Parameters
    ----------
    design : RateDesign
        Such as `mixexp.theory.sgamoe()`, or one's own.
    sizes : sequence of int, optional
        Numbers of rows, at least two; those of the design by default.
    replicates : int, default=20
        Data sets of each size, at least two.
    starts : sequence of {"truth", "search"}
        "truth" begins at the experts that the rows come from. Experts in excess halve the largest
        classes along random lines. "search" is the estimator's own start, which knows nothing.
    kind : {"auto", "exact", "overspecified"}, default="auto"
        Which `voronoi_loss`.
    n_fresh : int, default=5000
        Rows over which Hellinger distances are taken, the same for all fits.
    n_jobs : int or None
        Processes.
    random_state : int, default=0

    Returns
    -------
    RateStudy

    Raises
    ------
    ValueError
        For sizes, replicates, starts or a kind that make no study; before any fit.

    References
    ----------
    Nguyen, Nguyen and Ho (2023), "Demystifying softmax gating function in Gaussian mixture of
    experts", NeurIPS 36.

    Examples
    --------
    >>> from mixexp import rate_study
    >>> from mixexp.theory import sgamoe
    >>> study = rate_study(sgamoe(), [300, 3000], replicates=5, starts=["truth"])
    >>> -0.9 < study.slope("hellinger").slope < -0.2
    True
    """
    grid = _check_sizes(design.sizes if sizes is None else sizes, design.n_experts)
    chosen = _check_starts(starts)
    if replicates < 2:
        raise ValueError(f"replicates must be at least 2; got {replicates!r}.")
    truth = MixingMeasure.of(design.truth)
    voronoi_loss(truth, truth, kind)  # an unknown kind is refused before any fit
    fresh = design.draw(n_fresh, np.random.default_rng([random_state]))[:2]
    jobs = [(n, replicate) for n in grid for replicate in range(replicates)]
    tasks = (
        delayed(_replicate)(design, n, replicate, random_state, chosen, kind, fresh)
        for n, replicate in jobs
    )
    found = in_order(tasks, n_jobs, len(jobs))
    table = pd.DataFrame([line for lines in found for line in lines])
    return RateStudy(design.name, design.n_experts, truth.n_experts, grid, chosen, table)


def _replicate(
    design: RateDesign,
    n: int,
    replicate: int,
    seed: int,
    starts: tuple[str, ...],
    kind: str,
    fresh: tuple[Floats, Floats],
) -> list[dict[str, Any]]:
    """One line of the table for each start."""
    rng = np.random.default_rng([seed, n, replicate])
    X, y, z = design.draw(n, rng)
    labels = surplus_labels(X, y, z, design.truth.n_experts, design.n_experts, rng)
    lines = []
    for start in starts:
        model = clone(design.estimator)
        if start == "truth":
            model.set_params(start=labels)
        with warnings.catch_warnings():  # the table says how the fits ended
            warnings.simplefilter("ignore", ConvergenceWarning)
            model.fit(X, y)
        lines.append(
            {
                "n": n,
                "replicate": replicate,
                "start": start,
                "hellinger": hellinger(model, design.truth, *fresh),
                "voronoi": voronoi_loss(model, design.truth, kind),
                "loglik": model.loglik_,
                "converged": model.converged_,
                "regular": model.regular_,
            }
        )
    return lines


def surplus_labels(
    X: Floats, y: Floats, z: NDArray[np.intp], K_true: int, K: int, rng: np.random.Generator
) -> NDArray[np.intp]:
    """(n,) labels of K experts: the true ones, the largest classes halved along random lines."""
    points = np.column_stack([X, y])
    points = (points - points.mean(axis=0)) / points.std(axis=0)
    labels = np.array(z)
    for new in range(K_true, K):
        inside = labels == np.argmax(np.bincount(labels))
        place = points @ rng.standard_normal(points.shape[1])
        labels[inside & (place > np.median(place[inside]))] = new
    return labels


def _check_sizes(sizes: Sequence[int], n_experts: int) -> tuple[int, ...]:
    grid = tuple(sizes)
    whole = all(isinstance(n, int | np.integer) and not isinstance(n, bool) for n in grid)
    if not whole or len(set(grid)) != len(grid) or len(grid) < 2 or min(grid) <= 10 * n_experts:
        raise ValueError(
            "sizes must be two or more different numbers of rows, each above ten times "
            f"n_experts={n_experts}; got {list(grid)!r}."
        )
    return tuple(sorted(int(n) for n in grid))


def _check_starts(starts: Sequence[str]) -> tuple[str, ...]:
    chosen = (starts,) if isinstance(starts, str) else tuple(starts)
    if not chosen or len(set(chosen)) != len(chosen) or not set(chosen) <= set(STARTS):
        raise ValueError(f"starts must be some of {list(STARTS)}; got {starts!r}.")
    return chosen
