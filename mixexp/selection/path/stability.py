"""`StabilitySelection`: which columns a path selects again and again from halves of the rows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from sklearn.base import is_classifier

from mixexp._component import Component
from mixexp.selection.path._halves import complementary_halves
from mixexp.selection.path._selected import selected_by
from mixexp.selection.path._setting import setting
from mixexp.selection.path.path import MoEPath, spread
from mixexp.selection.path.result import PathResult
from mixexp.selection.path.stability_result import StabilityResult, check_threshold


class StabilitySelection(Component):
    """Selects the columns that fits along a path use again and again, from halves of the rows.

    The rows are split at random into two halves, many times; every half walks the path at the
    strengths of all rows. A column's frequency at a strength is the share of the halves whose fit
    there uses it, and the column is selected if its largest frequency along the path reaches the
    threshold. The expected number of falsely selected columns is bounded; see
    `StabilityResult.bounds`.

    Parameters
    ----------
    estimator : MoERegressor or MoEClassifier
        The template, as for `MoEPath`.
    n_pairs : int, default=50
        Complementary pairs of halves; twice as many paths are walked.
    threshold : float in (0.5, 1], default=0.75
        Frequency from which a column is selected.
    max_columns : int or None, default=None
        Most columns that a half may select along its path: it ends before it uses one more. With
        it the bounds are known beforehand: for at most v falsely selected of p columns take
        the whole number below ``sqrt(v * (2 * threshold - 1) * p)``. None: the mean number of
        columns that the halves have selected stands in its place.
    penalties_expert, penalties_gate, ratio, max_free, searches
        The grid and its walk, as for `MoEPath`, in every half. A half ends where it has
        ``max_free`` parameters in proportion, and keeps its last selection from there on.
    n_jobs : int or None, default=None
        Processes for the halves; the result does not depend on it.
    random_state : int, RandomState or None, default=None
        Seed of halves and starts; None is 0.

    Attributes
    ----------
    result_ : StabilityResult
    path_ : PathResult
        The path of all rows, up to ``max_columns`` as well.

    Notes
    -----
    Halves are dealt by the values of the distinct rows: the order of the rows does not matter, a
    weight of 2 equals the row twice, and equal rows are in one half. The independent units
    are thus the distinct rows. A classifier's halves are balanced over the classes.

    References
    ----------
    Meinshausen and Buhlmann (2010), "Stability selection", J. R. Stat. Soc. B 72, 417-473; Shah and
    Samworth (2013), "Variable selection with error control: another look at stability selection",
    J. R. Stat. Soc. B 75, 55-80.

    Examples
    --------
    >>> from mixexp import MoERegressor, StabilitySelection
    >>> from mixexp.datasets import make_moe_regression
    >>> X, y = make_moe_regression(
    ...     300, 20, 2, gate_features=[0], expert_features=[1, 2], random_state=0
    ... )
    >>> stability = StabilitySelection(
    ...     MoERegressor(2), n_pairs=5, penalties_expert=8, searches=0, max_columns=5
    ... )
    >>> stability.fit(X, y).result_.selected()
    ['x0', 'x1', 'x2']
    """

    def __init__(
        self,
        estimator: Any,
        *,
        n_pairs: int = 50,
        threshold: float = 0.75,
        max_columns: int | None = None,
        penalties_expert: int | Sequence[float] = 30,
        penalties_gate: Any = "coupled",
        ratio: float = 0.1,
        max_free: float | None = None,
        searches: int = 1,
        n_jobs: int | None = None,
        random_state: Any = None,
    ) -> None:
        self.estimator = estimator
        self.n_pairs = n_pairs
        self.threshold = threshold
        self.max_columns = max_columns
        self.penalties_expert = penalties_expert
        self.penalties_gate = penalties_gate
        self.ratio = ratio
        self.max_free = max_free
        self.searches = searches
        self.n_jobs = n_jobs
        self.random_state = random_state

    def fit(self, X: Any, y: Any, sample_weight: Any = None, **inputs: Any) -> StabilitySelection:
        """Walk the path of all rows and those of the halves.

        Parameters
        ----------
        X, y, sample_weight, **inputs
            As for `MoEPath.fit`.

        Returns
        -------
        StabilitySelection
            Itself, with ``result_`` and ``path_``.

        Raises
        ------
        ValueError
            If a setting means nothing, or for fewer than four distinct rows.
        """
        self._check()
        path = self._path()
        most = np.inf if self.max_columns is None else self.max_columns
        given = setting(path, X, y, sample_weight, inputs, most)
        walks, _ = path._run(given, [])
        self.path_ = PathResult.assemble(given, walks, [])
        pairs = complementary_halves(
            given.given, self.n_pairs, classes=is_classifier(given.template), seed=given.plan.seed
        )
        reference = [[fit.params for fit in one.fits] for one in walks]
        jobs = [(given, half, reference) for pair in pairs for half in pair]
        found = spread(selected_by, jobs, self.n_jobs)
        self.result_ = StabilityResult.assemble(
            given,
            given.template._names(),
            found,
            self.n_pairs,
            self.threshold,
            self.max_columns,
        )
        return self

    def _path(self) -> MoEPath:
        shared = ("penalties_expert", "penalties_gate", "ratio", "max_free", "searches", "n_jobs")
        settings = {name: getattr(self, name) for name in shared}
        return MoEPath(self.estimator, random_state=self.random_state, **settings)

    def _check(self) -> None:
        asked = {"n_pairs": self.n_pairs}
        if self.max_columns is not None:
            asked["max_columns"] = self.max_columns
        for name, value in asked.items():
            whole = isinstance(value, int | np.integer) and not isinstance(value, bool)
            if not whole or value < 1:
                raise ValueError(f"{name} must be a whole number of at least 1; got {value!r}.")
        check_threshold(self.threshold)
