"""Bootstrap replicates of a fit: refits from the estimate, experts matched to it.

Efron and Tibshirani (1993), "An Introduction to the Bootstrap"; the weighted likelihood bootstrap
is that of Newton and Raftery (1994, JRSS B 56, 3-48). O'Hagan, Murphy, Scrucca and Gormley (2019,
"Investigation of parameter uncertainty in clustering using a Gaussian mixture model via jackknife,
bootstrap and weighted likelihood bootstrap", Comput. Stat. 34) compare the three for mixtures.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from joblib import delayed
from scipy.optimize import linear_sum_assignment

from ..em import predictive
from ..em.approached import led
from ..em.driver import EM
from ..em.engines import MemoryEngine
from ..em.model import MoEModel
from ..em.params import MoEParams, stack, take, tree_map
from ..em.rows import Rows
from ..em.status import Status
from ..em.threads import single_threaded_blas
from ..em.workers import in_order
from .coordinates import coordinates

KINDS = ("parametric", "nonparametric", "weighted")


def bootstrap(
    model: MoEModel,
    params: MoEParams,
    rows: Rows,
    columns,
    *,
    kind: str = "nonparametric",
    n_boot: int = 200,
    groups=None,
    reference: int = 0,
    solver: EM | None = None,
    seed: int = 0,
    n_jobs: int | None = None,
):
    """Reported parameters of refits to new samples.

    Parameters
    ----------
    columns : (gate names, expert names)
    kind : {"parametric", "nonparametric", "weighted"}
        Targets drawn from the fit at the same X; rows drawn with replacement; or rows with
        exponential weights, which leave no row out. With ``groups`` whole groups are drawn or
        weighted together; so are the groups of a fit to groups, which needs no ``groups`` here.
    n_boot : int

    Returns
    -------
    replicates : DataFrame (n_boot, f)
    failed : int
        Refits that did not converge and were left out.
    unfinished : int
        Replicates among the rows of ``replicates`` whose refit ended at the limit of passes, as
        those of gates that jump may: they creep along a jump, or had further to go.
    """
    if kind not in KINDS:
        raise ValueError(f"kind must be one of {list(KINDS)}; got {kind!r}.")
    if n_boot < 2:
        raise ValueError(f"n_boot must be at least 2; got {n_boot!r}.")
    seeds = np.random.SeedSequence(seed).spawn(n_boot)
    solver = EM(max_passes=500, tol=1e-9, gradient_tol=1e-4) if solver is None else solver
    names = coordinates(model, params, columns, reference).names
    resp = model.responsibilities(params, rows)[rows.first]
    job = delayed(_replicate)
    tasks = (
        job(model, params, rows, columns, kind, groups, reference, solver, one, resp)
        for one in seeds
    )
    found = in_order(tasks, n_jobs, n_boot)
    good = [one for one in found if one is not None]
    values = np.array([value for value, _ in good]).reshape(len(good), len(names))
    unfinished = sum(status == Status.MAX_PASSES for _, status in good)
    return pd.DataFrame(values, columns=names), len(found) - len(good), unfinished


def _replicate(model, params, rows, columns, kind, groups, reference, solver, seed, resp):
    """Reported parameters of one refit and how it ended, or None."""
    rng = np.random.default_rng(seed)
    sample = _sample(model, params, rows, kind, groups, rng)
    with single_threaded_blas(), model.gate.remembering():
        start = led(model, sample, params) if model.gate.jumps else params
        result = solver.run(model, stack([start]), MemoryEngine(sample, model))
    # at a jump, or creeping along one, as fits of such gates end
    status = result.status[0]
    blocked = model.gate.jumps and status in (Status.STALLED, Status.MAX_PASSES)
    if not (blocked or status.converged):
        return None
    refit = take(result.params, 0)
    if model.gate.known or rows.prior is not None:  # which name the experts
        return coordinates(model, refit, columns, reference).value, status
    order = matching(resp, model.responsibilities(refit, rows)[rows.first])
    return coordinates(model, reordered(refit, order), columns, reference).value, status


def _sample(model, params, rows: Rows, kind, groups, rng) -> Rows:
    if kind == "parametric":
        y, _ = predictive.sample(model, params, rows, rng)
        return rows._replace(y=y)
    base = rows.unit_weight
    codes = np.arange(len(base)) if groups is None else np.unique(groups, return_inverse=True)[1]
    count = int(codes.max()) + 1
    if kind == "weighted":
        factor = rng.standard_exponential(count)
        factor *= count / factor.sum()
    elif groups is None and rows.weight is not None:
        # a weight of 2 is the row twice: rows are drawn in proportion to their weights
        total = round(base.sum())
        factor = rng.multinomial(total, base / base.sum()) / np.where(base > 0, base, 1.0)
    else:
        factor = np.bincount(rng.integers(count, size=count), minlength=count).astype(float)
    weight = rows.spread(base * factor[codes])
    return rows._replace(weight=weight).take(np.flatnonzero(weight))


def matching(resp, other):
    """order with other[:, order] closest to resp: the assignment of greatest agreement."""
    return linear_sum_assignment(-(resp.T @ other))[1]


def reordered(params: MoEParams, order) -> MoEParams:
    """The same mixture with its experts in another order."""
    return tree_map(lambda leaf: leaf[order], params)
