"""The study: fit a grid of mixtures, compare them, and name the winner."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from joblib import delayed
from sklearn.base import BaseEstimator, is_classifier
from sklearn.model_selection import ParameterGrid
from sklearn.utils import get_tags
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import check_is_fitted

from mixexp._component import CRITERIA, Component
from mixexp.em.workers import as_they_come
from mixexp.estimators._groups import check_groups
from mixexp.selection.folds import make_folds
from mixexp.selection.study.assemble import Cell, assemble
from mixexp.selection.study.chains import FitRecord, StudyRows, run_chain
from mixexp.selection.study.checkpoint import ChainFolder, describe
from mixexp.selection.study.comparable import check_comparable
from mixexp.selection.study.following import Step, paths
from mixexp.selection.study.result import StudyResult
from mixexp.sources.aligned import is_dask
from mixexp.sources.elsewhere import held_elsewhere

Progress = Callable[[int, int, str], None]


def _best_has(name: str) -> Callable[[SelectionStudy], bool]:
    return lambda study: hasattr(study.estimator, name)


class SelectionStudy(Component):
    """Compares mixtures of experts over a grid by information criteria and cross-validation.

    Every cell of the grid (a family, a penalty strength ...) is a chain over the number of
    experts in ascending order: the search for the starts of each fit goes on from the fit with
    one expert less. The same chains run inside every fold of the
    cross-validation, so that the score is that of the whole procedure. A single expert is always
    fitted as the baseline, also where the grid does not list it; it is then shown, not chosen.

    Parameters
    ----------
    estimator : MoERegressor or MoEClassifier
        The template of every fit.
    grid : dict or list of dict
        Settings to try, as in `sklearn.model_selection.ParameterGrid`. ``n_experts`` is the
        number of experts. Settings of parts are dotted (``expert__penalty``); a number given as a
        penalty is the strength of an L2 penalty.
    criterion : str or Criterion, default="bic"
        What decides: a name of `mixexp.selection.CRITERIA` ("aic", "aicc", "aic3", "bic",
        "caic", "icl", "mbic", "ebic", "nec", "slope"), an instance, or "cv". "cv" is the
        cross-validated log-likelihood. All of AIC, BIC, ICL and the cross-validated
        log-likelihood are shown whatever decides.
    cv : int, splitter, iterable or None, default=5
        Folds of the cross-validation; None or 0 leaves it out.
    one_se : bool, default=False
        With ``criterion="cv"``: choose the fit with the fewest parameters among those within one
        paired standard error of the best.
    follow : bool, default=False
        Cells that differ in nothing but the strengths of their penalties are fitted along a path:
        the cell in the middle of the strengths (the stronger of two middles) searches for its
        starts, the others begin at the fits of their neighbours alone. A grid of strengths then
        costs little more than one cell.
    n_jobs : int or None, default=None
        Number of processes; chains and folds run in parallel, each with one thread. The cells of
        a path run one after the other. Inside ``with joblib.parallel_config("dask"):`` they run on
        the workers of the current Dask cluster.
    random_state : int or None, default=None
        Seed of the folds (and of the fits, where the template has none).
    checkpoint : path-like or None, default=None
        Folder in which every finished chain is kept. A study that was interrupted and is called
        again with the same data and settings takes the finished ones from there.
    progress : callable or None, default=None
        Called as ``progress(fits_done, fits_in_all, label)``.

    Attributes
    ----------
    result_ : StudyResult
        Table, winner, notes: everything a report needs.
    best_estimator_ : estimator
        The winner, fitted on all rows.
    best_params_ : dict
        Its cell of the grid.
    """

    def __init__(
        self,
        estimator: Any,
        grid: Mapping[str, Sequence[Any]] | Sequence[Mapping[str, Sequence[Any]]],
        criterion: Any = "bic",
        *,
        cv: Any = 5,
        one_se: bool = False,
        follow: bool = False,
        n_jobs: int | None = None,
        random_state: Any = None,
        checkpoint: Any = None,
        progress: Progress | None = None,
    ) -> None:
        self.estimator = estimator
        self.grid = grid
        self.criterion = criterion
        self.cv = cv
        self.one_se = one_se
        self.follow = follow
        self.n_jobs = n_jobs
        self.random_state = random_state
        self.checkpoint = checkpoint
        self.progress = progress

    def fit(
        self,
        X: Any,
        y: Any = None,
        sample_weight: Any = None,
        *,
        offset: Any = None,
        exposure: Any = None,
        trials: Any = None,
        groups: Any = None,
    ) -> SelectionStudy:
        """Fit the grid and choose.

        Parameters
        ----------
        X : array-like of shape (n, p)
            Columns of gate and experts. Dask collections are taken with ``cv=None``: one fit
            after the other, each on all workers.
        y : array-like of shape (n,) or (n, m)
            Target.
        sample_weight, offset, exposure, trials : array-like of shape (n,), optional
            Row-wise inputs, as in ``MoERegressor.fit``.
        groups : array-like of shape (n,), optional
            Labels of rows that share one expert. Folds keep groups together, and all that is
            compared counts groups.

        Returns
        -------
        SelectionStudy
            Itself, with ``result_``.

        Raises
        ------
        ValueError
            If no cell of the grid could be fitted; the message is that of the first fit. Before
            any fit: if the log-likelihoods of the grid cannot be compared.
        """
        found = held_elsewhere(X)
        if found is not None and found.kind != "dask":
            raise ValueError(
                f"SelectionStudy.fit needs rows in memory; got {found.name}. Study a "
                "sample of the rows, and fit all of them with what it chose: "
                "MoERegressor(study.best_params_['n_experts'], start=study.best_estimator_)"
                ".fit(FileDataset(path, target=...))."
            )
        if found is not None and self.cv:
            raise ValueError(
                "Folds need rows in memory; got Dask collections. Set cv=None and choose by an "
                "information criterion, or study a sample: X.sample(frac=0.01).compute()."
            )
        codes = None if groups is None else check_groups(groups, len(y)).codes
        data = StudyRows(X, y, sample_weight, offset, exposure, trials, codes)
        cells = cells_of(self.grid, self.estimator)
        criterion = _check_criterion(self.criterion)
        _check_number_of_fits(criterion, sum(len(cell.experts) for cell in cells))
        check_comparable(self.estimator, cells, criterion)
        folds = make_folds(
            y,
            self.cv,
            classes=is_classifier(self.estimator),
            random_state=_integer_seed(self.random_state),
            X=X,
            groups=codes,
        )
        if criterion == "cv" and not folds:
            raise ValueError("criterion='cv' needs folds; got cv=None. Set cv=5.")
        records = self._run(cells, folds, data)
        self.result_: StudyResult = assemble(
            cells, records, folds, data, criterion, self.one_se, self._settings(folds)
        )
        self.best_estimator_ = self.result_.best_estimator_
        self.best_params_ = self.result_.best_params_
        return self

    def _run(
        self, cells: Sequence[Cell], folds: Sequence[Any], data: StudyRows
    ) -> dict[tuple[int, int], list[FitRecord]]:
        """Records by (cell, fold); fold -1 is the fit on all rows."""
        order = paths([cell.settings for cell in cells], self.follow)
        jobs = [(path, f) for path in order for f in range(-1, len(folds))]
        template = self._template()
        folder = self._folder(template, cells, data)
        all_rows = (None, None)
        kept = [
            folder and folder.load(_key(path, f, folds[f] if f >= 0 else all_rows))
            for path, f in jobs
        ]
        left = [job for job, chains in zip(jobs, kept, strict=True) if chains is None]
        tasks = (
            delayed(_task)(template, cells, path, data, folds[f] if f >= 0 else all_rows, f, folder)
            for path, f in left
        )
        total = sum(len(cell.experts) for cell in cells) * (len(folds) + 1)
        records: dict[tuple[int, int], list[FitRecord]] = {}
        for chains in kept:
            records |= chains or {}
        done = sum(len(chain) for chain in records.values())
        if self.progress is not None:
            self.progress(done, total, "")
        for chains in as_they_come(tasks, self.n_jobs, len(left), here=is_dask(data.X)):
            records |= chains
            done += sum(len(chain) for chain in chains.values())
            if self.progress is not None:
                self.progress(done, total, cells[next(iter(chains))[0]].label)
        return records

    def _folder(self, template: Any, cells: Sequence[Cell], data: StudyRows) -> ChainFolder | None:
        if self.checkpoint is None:
            return None
        settings = [(describe(cell.settings), cell.experts) for cell in cells]
        return ChainFolder(self.checkpoint, (describe(template), settings, vars(data)))

    def _template(self) -> Any:
        parameters = self.estimator.get_params(deep=False)
        if parameters.get("random_state", 0) is None and self.random_state is not None:
            return _clone_with(self.estimator, random_state=_integer_seed(self.random_state))
        return self.estimator

    def _settings(self, folds: Sequence[Any]) -> dict[str, Any]:
        return {
            "estimator": type(self.estimator).__name__,
            "folds": len(folds),
            "one_se": bool(self.one_se),
            "follow": bool(self.follow),
            "random_state": _integer_seed(self.random_state),
        }

    @property
    def classes_(self) -> Any:
        """Classes of the chosen classifier."""
        return self.best_estimator_.classes_

    def __sklearn_tags__(self) -> Any:
        """Those of the template: a study of classifiers is a classifier."""
        return get_tags(self.estimator)

    def predict(self, X: Any, **inputs: Any) -> Any:
        """Predictions of the chosen model."""
        check_is_fitted(self, "result_")
        return self.best_estimator_.predict(X, **inputs)

    def log_prob(self, X: Any, y: Any, **inputs: Any) -> Any:
        """Log-densities under the chosen model."""
        check_is_fitted(self, "result_")
        return self.best_estimator_.log_prob(X, y, **inputs)

    def score(self, X: Any, y: Any, **inputs: Any) -> float:
        """Score of the chosen model."""
        check_is_fitted(self, "result_")
        return self.best_estimator_.score(X, y, **inputs)

    @available_if(_best_has("predict_proba"))
    def predict_proba(self, X: Any) -> Any:
        """Class probabilities under the chosen model."""
        check_is_fitted(self, "result_")
        return self.best_estimator_.predict_proba(X)


def cells_of(grid: Any, estimator: BaseEstimator) -> list[Cell]:
    """The chains of a grid: settings without ``n_experts``, and the numbers of experts in order.

    Cells keep the order of the grid; a cell named twice is fitted once.
    """
    if "n_experts" not in getattr(estimator, "get_params", dict)():
        raise ValueError(
            "estimator must be a mixture with n_experts, such as MoERegressor(); got "
            f"{estimator!r}."
        )
    default = estimator.get_params(deep=False)["n_experts"]
    cells: dict[str, tuple[dict[str, Any], set[int]]] = {}
    for point in ParameterGrid(grid):
        settings = {key: value for key, value in point.items() if key != "n_experts"}
        n_experts = _count(point.get("n_experts", default))
        cells.setdefault(repr(settings), (settings, set()))[1].add(n_experts)
    found = list(cells.values())
    names = {name for settings, _ in found for name in settings}
    varying = {n for n in names if len({repr(settings.get(n)) for settings, _ in found}) > 1}
    return [Cell.of(settings, experts, varying) for settings, experts in found]


def _count(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < 1:
        raise ValueError(f"n_experts must be a whole number of at least 1; got {value!r}.")
    return int(value)


def _check_criterion(criterion: Any) -> Any:
    from mixexp.selection.criteria.information import Criterion

    if isinstance(criterion, Criterion) or criterion == "cv":
        return criterion
    if isinstance(criterion, str) and criterion in CRITERIA:
        return criterion
    raise ValueError(
        f"criterion must be one of {sorted(CRITERIA)}, 'cv' or a Criterion; got {criterion!r}."
    )


def _check_number_of_fits(criterion: Any, planned: int) -> None:
    """Says before the fits are made that they will not suffice."""
    part = CRITERIA[criterion] if criterion in CRITERIA else criterion
    least = getattr(part, "least_fits", 1)
    if planned < least:
        raise ValueError(
            f"criterion {getattr(part, 'name', criterion)!r} needs at least {least} fits; the "
            f"grid has {planned}. List more numbers of experts, or choose by 'bic'."
        )


def _integer_seed(random_state: Any) -> int:
    """The seed itself, None being 0 as in the estimators: folds and fits of one study share it."""
    if random_state is None or isinstance(random_state, int | np.integer):
        return 0 if random_state is None else int(random_state)
    raise ValueError(f"random_state must be an integer or None; got {random_state!r}.")


def _clone_with(estimator: Any, **settings: Any) -> Any:
    from sklearn.base import clone

    return clone(estimator).set_params(**settings)


def _key(path: Sequence[Step], f: int, fold: Any) -> Any:
    """What a task depends on besides what all tasks of the study share."""
    return [tuple(step) for step in path], f, fold if f >= 0 else None


def _task(
    estimator: Any,
    cells: Sequence[Cell],
    path: Sequence[Step],
    data: StudyRows,
    fold: Any,
    f: int,
    folder: ChainFolder | None = None,
) -> dict[tuple[int, int], list[FitRecord]]:
    """The chains of one path on all rows or on one fold, by (cell, fold)."""
    train, test = fold
    chains: dict[int, list[FitRecord]] = {}
    for step in path:
        cell = cells[step.cell]
        near = [record for other in step.neighbours for record in chains[other]]
        chains[step.cell] = run_chain(
            estimator, cell.settings, cell.experts, data, train, test, near
        )
    if test is not None:  # models of the folds are not kept: only their scores travel back
        chains = {
            cell: [_scores_only(record) for record in chain] for cell, chain in chains.items()
        }
    done = {(cell, f): chain for cell, chain in chains.items()}
    if folder is not None:
        folder.save(_key(path, f, fold), done)
    return done


def _scores_only(record: FitRecord) -> FitRecord:
    return FitRecord(
        record.n_experts, error=record.error, log_prob=record.log_prob, notes=record.notes
    )
