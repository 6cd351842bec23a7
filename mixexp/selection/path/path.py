"""`MoEPath`: mixtures over a grid of penalty strengths, from nothing to saturation."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from joblib import delayed
from sklearn.base import is_classifier

from mixexp._component import Component
from mixexp.em import wide, working_set
from mixexp.em.rows import Rows
from mixexp.em.starts.table import compact
from mixexp.em.threads import single_threaded_blas
from mixexp.em.workers import in_order
from mixexp.selection.folds import keyed_folds, make_folds
from mixexp.selection.path._chain import Walk, walk
from mixexp.selection.path._setting import Setting, setting
from mixexp.selection.path.result import PathResult


class MoEPath(Component):
    """Fits a mixture of experts along penalty strengths of its gate and experts.

    The path begins at the smallest strengths at which the mixture without any slope is a
    stationary point; they are computed from its gradient. Each fit is started from its
    neighbours, from above and from below, and at some places from a fresh search; the best
    optimum met is kept, regular ones before others. A chain ends early where it is saturated:
    where more parameters are free than ``max_free``.

    Parameters
    ----------
    estimator : MoERegressor or MoEClassifier
        The template. Parts without a penalty get ``L1()``, a Gaussian expert with
        ``scale_free=True``; parts with one keep its kind (``MCP(gamma=2)``, ``GroupLasso(...)``,
        weights), and their strength is varied.
    penalties_expert : int or sequence of float, default=50
        Number of strengths, spaced geometrically, or the strengths themselves.
    penalties_gate : "coupled", None, int or sequence of float, default="coupled"
        "coupled": the same multiple of the sampling error of its gradient as the experts. None: the
        gate's penalty stays as the template has it. Otherwise a grid of two dimensions, one
        chain for every strength of the gate.
    ratio : float or None, default=None
        Smallest strength over the largest, where strengths are not given. None: 0.01, or 0.05
        where there are as many columns as units (sum of weights) or more.
    max_free : float or None, default=None
        Free parameters beyond which a chain ends; None: those of the mixture without slopes and
        half the units (sum of weights).
    searches : int, default=3
        Fresh searches of a chain, each with the effort of the estimator's ``start``, and where that
        is "default" with 0.3 of the default effort.
    cv : int, splitter, iterable of (train, test) or None, default=None
        Folds for the cross-validated log-likelihood of every place; the strengths are those
        of all rows. A number of folds is dealt by the rows' values: equal rows share a fold, and
        the order of the rows does not matter.
    n_jobs : int or None, default=None
        Processes for chains and folds.
    random_state : int, RandomState or None, default=None
        None is 0.

    Attributes
    ----------
    result_ : PathResult

    References
    ----------
    Friedman, Hastie and Tibshirani (2010), J. Stat. Softw. 33(1); Huynh and Chamroukhi (2019),
    arXiv:1907.06994; Stadler, Buhlmann and van de Geer (2010), TEST 19, 209-256.

    Examples
    --------
    >>> from mixexp import MoERegressor, MoEPath
    >>> from mixexp.datasets import load_ethanol
    >>> X, y = load_ethanol(return_X_y=True)
    >>> path = MoEPath(MoERegressor(2), penalties_expert=5, random_state=0).fit(X, y)
    >>> len(path.result_.table)
    5
    """

    def __init__(
        self,
        estimator: Any,
        *,
        penalties_expert: int | Sequence[float] = 50,
        penalties_gate: Any = "coupled",
        ratio: float | None = None,
        max_free: float | None = None,
        searches: int = 3,
        cv: Any = None,
        n_jobs: int | None = None,
        random_state: Any = None,
    ) -> None:
        self.estimator = estimator
        self.penalties_expert = penalties_expert
        self.penalties_gate = penalties_gate
        self.ratio = ratio
        self.max_free = max_free
        self.searches = searches
        self.cv = cv
        self.n_jobs = n_jobs
        self.random_state = random_state

    def fit(self, X: Any, y: Any, sample_weight: Any = None, **inputs: Any) -> MoEPath:
        """Fit the whole grid.

        Parameters
        ----------
        X : array-like or sparse of shape (n, p)
        y : array-like of shape (n,) or (n, m)
        sample_weight : (n,) array-like, optional
        **inputs
            ``offset``, ``exposure``, ``trials``, as in the estimator's ``fit``.

        Returns
        -------
        MoEPath
            Itself, with ``result_``.
        """
        given = setting(self, X, y, sample_weight, inputs)
        folds = path_folds(given, self.cv, X, y)
        walks, scores = self._run(given, folds)
        self.result_ = PathResult.assemble(given, walks, scores)
        return self

    def _run(self, given: Setting, folds):
        """Walks of all chains, and the held-out log-densities of every chain and fold."""
        chains = given.chains
        jobs = [(given.model, given.rows, chain, given.plan, given.null) for chain in chains]
        tests: list[Rows | None] = [None] * len(chains)
        for train, test in folds:
            part = compact(given.given.take(train))
            plan = given.plan_of(part)
            start = wide.null_start(given.model, part, plan.start, plan.seed)
            jobs += [(given.model, part, chain, plan, start) for chain in chains]
            tests += [given.given.take(test)] * len(chains)
        done = spread(_walk_and_test, list(zip(jobs, tests, strict=True)), self.n_jobs)
        n = len(chains)
        scores = [
            [(fold[1], done[n * (f + 1) + c][1]) for f, fold in enumerate(folds)] for c in range(n)
        ]
        return [walked for walked, _ in done[:n]], scores


def path_folds(given: Setting, cv, X, y):
    """Pairs of training and test rows: of a number dealt by the rows' values, else those given."""
    classes = is_classifier(given.template)
    if isinstance(cv, int | np.integer) and not isinstance(cv, bool) and cv > 0:
        return keyed_folds(given.given, int(cv), classes=classes, seed=given.plan.seed)
    return make_folds(y, cv, classes=classes, X=X)


def spread(function, jobs, n_jobs) -> list[Any]:
    """``function(*job)`` of all jobs, in processes or on a cluster, as `workers` has it."""
    return in_order((delayed(function)(*job) for job in jobs), n_jobs, len(jobs))


def _walk_and_test(chain, test) -> tuple[Walk, list[Any]]:
    """A chain, and its log-densities of held-out rows place by place."""
    model, rows, places, plan, null = chain
    with single_threaded_blas():
        walked = walk(model, rows, places, plan, null)
        if test is None:
            return walked, []
        return walked, [_held_out(model, fit.params, test) for fit in walked.fits]


def _held_out(model, params, test):
    """Log-densities of held-out rows, from the columns that matter alone."""
    working = working_set.support(model, params)
    small = working_set.restricted(model, working)
    return small.log_prob(working_set.restricted_params(params, working), test)
