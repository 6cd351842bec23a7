"""The fits of a study: one chain over the number of experts, on all rows or on one fold."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import _safe_indexing

from mixexp._component import EXPERTS, GATES, Component, resolve
from mixexp.em.regular import smallest_allowed
from mixexp.em.start import MultiStart
from mixexp.em.summary import FitSummary
from mixexp.penalties import L2

_TOO_FEW = "too few rows for {} regular experts, and the fit that it would follow is not regular"
REGISTRIES: dict[str, dict[str, type[Component]]] = {"expert": EXPERTS, "gate": GATES}


@dataclass(frozen=True)
class StudyRows:
    """The rows of a study and what travels with them; row-wise inputs may be None.

    ``groups`` are integers.
    """

    X: Any
    y: Any
    sample_weight: Any = None
    offset: Any = None
    exposure: Any = None
    trials: Any = None
    groups: Any = None

    def take(self, rows: NDArray[np.intp]) -> StudyRows:
        """The same inputs for some rows."""
        parts = {field.name: getattr(self, field.name) for field in fields(self)}
        return StudyRows(
            **{k: None if v is None else _safe_indexing(v, rows) for k, v in parts.items()}
        )

    def inputs(self, *, weight: bool = False) -> dict[str, Any]:
        """The row-wise keyword arguments that are given."""
        names = ["offset", "exposure", "trials", "groups"] + (["sample_weight"] if weight else [])
        return {name: getattr(self, name) for name in names if getattr(self, name) is not None}


@dataclass(frozen=True)
class FitRecord:
    """One fit of a chain: the estimator or the reason why there is none.

    ``log_prob`` holds the log-densities of the rows kept aside, if any were; those of groups at
    their first rows, the others being NaN.
    """

    n_experts: int
    estimator: Any = None
    error: str | None = None
    log_prob: NDArray[np.float64] | None = None
    notes: tuple[str, ...] = ()

    @property
    def summary(self) -> FitSummary | None:
        """What the criteria need of the fit; None if it failed."""
        return None if self.estimator is None else self.estimator.fit_summary_

    @property
    def regular(self) -> bool:
        """Whether the fit is an honest optimum: no expert collapsed on a few rows."""
        return self.estimator is not None and is_regular(self.estimator)


def is_regular(estimator: Any) -> bool:
    """Whether a fitted estimator stands on a regular optimum of its likelihood."""
    return bool(estimator.regular_) and estimator.status_.name != "DEGENERATE"


def build(estimator: Any, cell: Mapping[str, Any], n_experts: int) -> Any:
    """A fresh estimator with the settings of one cell of the grid.

    A dotted setting of a part that is given by name (``expert__penalty`` with
    ``expert="gaussian"``) first replaces the name by the default-built part. A number given as
    a penalty is the strength of an `L2` penalty; 0 and None mean no penalty.
    """
    model = clone(estimator).set_params(n_experts=n_experts)
    whole = {key: value for key, value in cell.items() if "__" not in key}
    model.set_params(**{key: clone(value, safe=False) for key, value in whole.items()})
    for key in sorted(set(cell) - set(whole)):
        head = key.split("__")[0]
        part = model.get_params(deep=False).get(head)
        if isinstance(part, str) and head in REGISTRIES:
            model.set_params(**{head: resolve(part, REGISTRIES[head], head)})
        value = clone(cell[key], safe=False)
        model.set_params(**{key: as_penalty(value) if key.endswith("penalty") else value})
    return model


def as_penalty(value: Any) -> Any:
    """Numbers are strengths of an L2 penalty; other values pass."""
    if value is None or isinstance(value, bool) or not isinstance(value, int | float | np.number):
        return value
    return L2(float(value)) if value > 0 else None


def run_chain(
    estimator: Any,
    cell: Mapping[str, Any],
    experts: Sequence[int],
    data: StudyRows,
    train: NDArray[np.intp] | None = None,
    test: NDArray[np.intp] | None = None,
    neighbours: Sequence[FitRecord] = (),
) -> list[FitRecord]:
    """Fit every number of experts in ascending order, each started from the one before as well.

    Parameters
    ----------
    estimator : estimator
        The template; never fitted itself.
    cell : mapping
        Settings of the chain, all but the number of experts.
    experts : sequence of int
        Numbers of experts, ascending.
    data : StudyRows
        All rows.
    train, test : ndarray of int or None
        Rows to fit and rows to score; None fits all rows and scores none.
    neighbours : sequence of FitRecord
        Fits of other cells to the same rows. A number of experts that they hold is started from
        them alone, without a search.

    Returns
    -------
    list of FitRecord
        One for each number of experts; a fit that failed has its error there.
    """
    rows = data if train is None else data.take(train)
    held_out = None if test is None else data.take(test)
    known: dict[int, list[Any]] = {}
    for record in neighbours:
        if record.estimator is not None:
            known.setdefault(record.n_experts, []).append(record.estimator)
    records: list[FitRecord] = []
    previous: Any = None
    for n_experts in experts:
        starts = known.get(n_experts) or _searches(estimator, n_experts, previous)
        if n_experts in known and _too_few_rows(starts[0]):
            records.append(FitRecord(n_experts, error=_TOO_FEW.format(n_experts)))
            previous = None
            continue
        record = _fit_one(estimator, cell, n_experts, rows, previous, starts)
        if record.estimator is not None and held_out is not None:
            record = _score(record, held_out)
        records.append(record)
        previous = record.estimator
    return records


def _too_few_rows(model: Any) -> bool:
    """Whether no fit with as many experts can be regular, whatever the strengths of penalties.

    The spurious optima of such fits are many and slow to reach: one of a path is enough.
    """
    summary = model.fit_summary_
    units = summary.n_units if summary.n_rows is None else summary.n_rows
    least = smallest_allowed(model._model_, model._params_, units)
    return not model.regular_ and model.n_experts_ * least > units * (1 + 1e-6)


def _searches(estimator: Any, n_experts: int, previous: Any) -> list[Any]:
    """What a fit that searches is started from; None is the template's own start.

    A fit with one expert less adds its splits to a search; beside any other start it has its own.
    """
    if previous is None or previous.n_experts_ != n_experts - 1:
        return [None]
    return [previous] if isinstance(estimator.start, str | MultiStart) else [None, previous]


def _fit_one(
    estimator: Any,
    cell: Mapping[str, Any],
    n_experts: int,
    rows: StudyRows,
    previous: Any,
    starts: Sequence[Any],
) -> FitRecord:
    """The best of the fits from the given starts, the regular ones first."""
    candidates, errors = [], []
    for start in starts:
        try:
            model = build(estimator, cell, n_experts)
            if start is not None:
                model.set_params(start=start)
            candidates.append(_quiet_fit(model, rows))
        except Exception as error:
            # A cell that cannot be fitted is a result of the study, shown with its reason.
            errors.append(_one_line(error))
    if not candidates:
        return FitRecord(n_experts, error=errors[0])
    best = max(candidates, key=lambda model: (is_regular(model), _objective(model)))
    if starts[-1] is not None:
        # the fit keeps no reference to the one before: it would drag the whole chain along
        best.set_params(start=clone(estimator).start)
    return FitRecord(n_experts, estimator=best, notes=_nesting_note(best, previous))


def _quiet_fit(model: Any, rows: StudyRows) -> Any:
    with warnings.catch_warnings():
        # What a fit warns about is in its status, which the study shows.
        warnings.simplefilter("ignore", ConvergenceWarning)
        return model.fit(rows.X, rows.y, **rows.inputs(weight=True))


def _objective(model: Any) -> float:
    return float(model.objective_path_[-1])


def _nesting_note(model: Any, previous: Any) -> tuple[str, ...]:
    if previous is None or not is_regular(model):
        return ()
    drop = previous.loglik_ - model.loglik_
    if drop <= 1e-6 * (1.0 + abs(previous.loglik_)):
        return ()
    return (
        f"K = {model.n_experts_} ends {drop:.3g} below K = {previous.n_experts_} in log-likelihood "
        "(possible with a penalty, or when only irregular optima lie higher).",
    )


def _score(record: FitRecord, rows: StudyRows) -> FitRecord:
    try:
        values = record.estimator.log_prob(rows.X, rows.y, **rows.inputs())
    except Exception as error:  # see _fit_one
        return FitRecord(record.n_experts, record.estimator, error=_one_line(error))
    values = np.asarray(values, dtype=float).ravel()
    if rows.groups is not None:  # a group's log density stands at its first row
        line = np.full(len(rows.groups), np.nan)
        line[np.unique(rows.groups, return_index=True)[1]] = values
        values = line
    return FitRecord(record.n_experts, record.estimator, log_prob=values)


def _one_line(error: Exception) -> str:
    text = " ".join(str(error).split()) or type(error).__name__
    return text if isinstance(error, ValueError) else f"{type(error).__name__}: {text}"
