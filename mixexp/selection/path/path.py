"""`MoEPath`: mixtures over a grid of penalty strengths, from nothing to saturation."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from joblib import Parallel, delayed, effective_n_jobs, parallel_config
from sklearn.base import clone, is_classifier
from sklearn.utils import check_random_state

from mixexp._component import EXPERTS, GATES, Component, resolve
from mixexp.em import wide, working_set
from mixexp.em.driver import EM
from mixexp.em.start import MultiStart
from mixexp.em.threads import single_threaded_blas
from mixexp.penalties import L1
from mixexp.selection.folds import make_folds
from mixexp.selection.path._chain import (
    Plan,
    Strengths,
    Walk,
    noise_ratio,
    walk,
    zero_strengths,
)
from mixexp.selection.path.result import PathResult

SOLVER = EM(max_passes=500, tol=1e-10, gradient_tol=1e-5)


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
    ratio : float, default=0.05
        Smallest strength over the largest, where strengths are not given.
    max_free : float or None, default=None
        Free parameters beyond which a chain ends; None: half the units (sum of weights).
    searches : int, default=3
        Fresh searches of a chain.
    cv : int, splitter or None, default=None
        Folds for the cross-validated log-likelihood of every place; the strengths are those
        of all rows.
    n_jobs : int or None, default=None
        Processes for chains and folds.
    random_state : int or None, default=None

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
        ratio: float = 0.05,
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
        template = self._template()
        model, rows = template._prepare(X, y, sample_weight, **inputs)
        seed = int(check_random_state(self.random_state).randint(2**31 - 1))
        start = self._search(template)
        with single_threaded_blas():
            null = wide.null_start(model, rows, start, seed)
            largest = zero_strengths(model, rows, null)
            chains = self._chains(largest, noise_ratio(model, rows, null))
        plan = Plan(
            start=start,
            solver=template.solver or SOLVER,
            searches=self.searches,
            max_free=rows.total_weight / 2 if self.max_free is None else self.max_free,
            seed=seed,
        )
        folds = make_folds(y, self.cv, classes=is_classifier(template), random_state=seed, X=X)
        walks, scores = self._run(model, rows, chains, plan, null, folds)
        self.result_ = PathResult.assemble(template, model, rows, chains, walks, scores)
        return self

    @staticmethod
    def _search(template) -> MultiStart:
        """The template's search; a start from given values has no place in a path."""
        if isinstance(template.start, MultiStart):
            return template.start
        if isinstance(template.start, str) and template.start == "default":
            return MultiStart()
        raise ValueError(
            "MoEPath starts every fit from its neighbours and from searches of its own: the "
            "estimator's start must be 'default' or MultiStart(...)."
        )

    def _template(self):
        """A clone of the estimator whose parts carry the penalties that the path varies."""
        template = clone(self.estimator)
        gate = resolve(template.gate, GATES, "gate")
        expert = resolve(template.expert, EXPERTS, "expert")
        varied = [expert] if self.penalties_gate is None else [gate, expert]
        for part in varied:
            has_penalty = "penalty" in part.get_params(deep=False)
            if has_penalty and part.penalty is None:
                part.set_params(penalty=L1())
                if "scale_free" in part.get_params(deep=False):
                    part.set_params(scale_free=True)
            if not (has_penalty and part.sparse):
                if part is gate and not gate.uses_columns:
                    continue
                raise ValueError(
                    f"MoEPath needs a penalty that sets slopes to zero on {type(part).__name__}, "
                    f"such as L1(); got {getattr(part, 'penalty', None)!r}."
                )
        return template.set_params(gate=gate, expert=expert)

    def _chains(self, largest: Strengths, ratio: float) -> list[list[Strengths]]:
        """Places of every chain, strongest first."""
        assert largest.expert is not None  # the template's experts are sparse
        varied = largest.gate is not None
        if isinstance(self.penalties_gate, str):
            if self.penalties_gate != "coupled":
                raise ValueError(
                    "penalties_gate must be 'coupled', None, a number of strengths or strengths; "
                    f"got {self.penalties_gate!r}."
                )
            top = max(largest.expert, (largest.gate or 0.0) / ratio)
            both = self._grid(self.penalties_expert, top, "penalties_expert")
            return [[Strengths(a * ratio if varied else None, a) for a in both]]
        expert = self._grid(self.penalties_expert, largest.expert, "penalties_expert")
        if self.penalties_gate is None or not varied:
            return [[Strengths(None, a) for a in expert]]
        gate = self._grid(self.penalties_gate, largest.gate, "penalties_gate")
        return [[Strengths(g, a) for a in expert] for g in gate]

    def _grid(self, asked, largest, name):
        if isinstance(asked, int | np.integer) and not isinstance(asked, bool):
            if not 0 < largest < np.inf:
                raise ValueError(
                    f"{name}: the largest strength that the data suggest is {largest}, so there "
                    "is no grid to space: no penalised column goes along with the target. Give "
                    "the strengths themselves, or other columns."
                )
            if asked < 1 or not 0 < self.ratio < 1:
                raise ValueError(
                    f"{name} must be at least 1 and ratio in (0, 1); got {asked} and {self.ratio}."
                )
            return [float(a) for a in largest * np.geomspace(1, self.ratio, int(asked))]
        values = np.sort(np.asarray(asked, dtype=float).ravel())[::-1]
        usable = len(values) > 0 and np.all((values > 0) & np.isfinite(values))
        if isinstance(asked, bool) or not usable:
            raise ValueError(f"{name} must be positive strengths; got {asked!r}.")
        return [float(a) for a in values]

    def _run(self, model, rows, chains, plan, null, folds):
        """Walks of all chains, and the held-out log-densities of every chain and fold."""
        jobs = [(model, rows, chain, plan, null) for chain in chains]
        tests = [None] * len(chains)
        for train, test in folds:
            part = rows.take(train)
            inner = plan._replace(max_free=plan.max_free * part.total_weight / rows.total_weight)
            start = wide.null_start(model, part, plan.start, plan.seed)
            jobs += [(model, part, chain, inner, start) for chain in chains]
            tests += [rows.take(test)] * len(chains)
        n_jobs = min(effective_n_jobs(self.n_jobs), len(jobs))
        if n_jobs == 1:
            done = [_walk_and_test(*job, test) for job, test in zip(jobs, tests, strict=True)]
        else:
            with parallel_config(backend="loky", inner_max_num_threads=1):
                done = Parallel(n_jobs=n_jobs)(
                    delayed(_walk_and_test)(*job, test)
                    for job, test in zip(jobs, tests, strict=True)
                )
        n = len(chains)
        scores = [
            [(fold[1], done[n * (f + 1) + c][1]) for f, fold in enumerate(folds)] for c in range(n)
        ]
        return [walked for walked, _ in done[:n]], scores


def _walk_and_test(model, rows, places, plan, null, test) -> tuple[Walk, list[Any]]:
    """A chain, and its log-densities of held-out rows place by place."""
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
