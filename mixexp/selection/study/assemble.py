"""From the records of the fits to the result of a study: table, choice and notes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.base import BaseEstimator

from mixexp._component import CRITERIA
from mixexp.selection.study.chains import FitRecord, StudyRows
from mixexp.selection.study.choice import add_criterion, choose, mean_and_error
from mixexp.selection.study.result import StudyResult
from mixexp.selection.study.values import describe_data

Floats = NDArray[np.float64]
Records = Mapping[tuple[int, int], Sequence[FitRecord]]
SHOWN = ("aic", "bic", "icl")


@dataclass(frozen=True)
class Cell:
    """One chain of a study.

    Attributes
    ----------
    settings : dict
        All settings but the number of experts.
    experts : tuple of int
        Numbers of experts to fit, ascending, the baseline K = 1 among them.
    asked : frozenset of int
        Those that the grid lists; only they can be chosen.
    label : str
        The settings in words; empty without settings.
    """

    settings: dict[str, Any]
    experts: tuple[int, ...]
    asked: frozenset[int]
    label: str

    @classmethod
    def of(cls, settings: dict[str, Any], asked: set[int], varying: set[str] | None = None) -> Cell:
        """A cell with its baseline, and a label of the settings that vary over the grid."""
        shown = sorted(settings if varying is None else set(settings) & varying)
        label = ", ".join(f"{_title(key)} {show(settings[key])}".strip() for key in shown)
        return cls(settings, tuple(sorted(asked | {1})), frozenset(asked), label)


def _title(key: str) -> str:
    return "" if key == "expert" else key.replace("__", " ").replace("_", " ")


def show(value: Any) -> str:
    """A setting in a few characters."""
    if isinstance(value, BaseEstimator):
        return " ".join(repr(value).split())
    if isinstance(value, float | np.floating):
        return f"{value:g}"
    return "none" if value is None else str(value)


def assemble(
    cells: Sequence[Cell],
    records: Records,
    folds: Sequence[tuple[Any, Any]],
    data: StudyRows,
    criterion: Any,
    one_se: bool,
    settings: dict[str, Any],
) -> StudyResult:
    """The result of a study from its records.

    Raises
    ------
    ValueError
        If no fit succeeded; the message is that of the first.
    """
    flat = [(cell, record) for c, cell in enumerate(cells) for record in records[c, -1]]
    if all(record.estimator is None for _, record in flat):
        raise ValueError(flat[0][1].error)
    notes = _notes(flat)
    table = _fit_table(flat)
    cv_rows, cv_notes = _cross_validated(cells, records, folds, len(data.y))
    if folds:
        _add_cross_validation(table, cv_rows, data.sample_weight)
    name = add_criterion(table, [record.summary for _, record in flat], criterion)
    chosen, choice_notes = choose(table, name, one_se, cv_rows, data.sample_weight)
    table["chosen"] = table.index == chosen
    return StudyResult(
        table=table,
        criterion=name,
        chosen=chosen,
        models={i: r.estimator for i, (_, r) in enumerate(flat) if r.estimator is not None},
        cells={i: dict(cell.settings, n_experts=r.n_experts) for i, (cell, r) in enumerate(flat)},
        cv_log_prob=cv_rows if folds else None,
        fit_notes=tuple(notes + cv_notes),
        choice_notes=tuple(choice_notes),
        data=describe_data(data.X, data.y, data.sample_weight, data.groups),
        settings=settings,
        weights=None if data.sample_weight is None else np.asarray(data.sample_weight, float),
    )


def _fit_table(flat: Sequence[tuple[Cell, FitRecord]]) -> pd.DataFrame:
    """One line for each fit: settings, likelihood, criteria, state."""
    rows = [_line(cell, record) for cell, record in flat]
    table = pd.DataFrame(rows)
    for name in SHOWN:
        scores = np.full(len(flat), np.nan)
        for good in _by_density(flat):
            scores[good] = CRITERIA[name]().scores([flat[i][1].summary for i in good])
        table[name] = scores
    return table


def _by_density(flat: Sequence[tuple[Cell, FitRecord]]) -> list[list[int]]:
    """Lines of the fits of y given x, and of those of (x, y); empty lists are left out."""
    kinds: dict[bool, list[int]] = {}
    for i, (_, record) in enumerate(flat):
        if record.summary is not None:
            kinds.setdefault(record.summary.joint, []).append(i)
    return list(kinds.values())


def _line(cell: Cell, record: FitRecord) -> dict[str, Any]:
    label = f"{cell.label}, K = {record.n_experts}" if cell.label else f"K = {record.n_experts}"
    line: dict[str, Any] = {"label": label, "cell": cell.label, "n_experts": record.n_experts}
    model = record.estimator
    line["in_grid"] = record.n_experts in cell.asked
    line["regular"] = record.regular
    if model is None:
        return (
            line
            | {"loglik": np.nan, "n_free": np.nan, "status": "FAILED"}
            | {
                "message": record.error,
                "converged": False,
                "n_iter": 0,
                "optima": 0,
                "hits": 0,
            }
        )
    starts = model.starts_
    best = starts[starts["best"]] if len(starts) else starts
    return line | {
        "loglik": float(model.loglik_),
        "n_free": float(record.summary.n_free),  # type: ignore[union-attr]
        "status": model.status_.name,
        "message": _message(model),
        "converged": bool(model.converged_),
        "n_iter": int(model.n_iter_),
        "optima": len(starts),
        "hits": int(best["hits"].iloc[0]) if len(best) else 0,
    }


def _message(model: Any) -> str:
    """How a fit ended, in the terms of its gate."""
    return str(model.status_.said_of(model._model_.gate))


def _cross_validated(
    cells: Sequence[Cell], records: Records, folds: Sequence[tuple[Any, Any]], n_rows: int
) -> tuple[Floats, list[str]]:
    """Out-of-fold log-densities (fits, n): NaN where a row is never tested."""
    lines, notes = [], []
    for c, cell in enumerate(cells):
        for j, n_experts in enumerate(cell.experts):
            line = np.full(n_rows, np.nan)
            for f, (_, test) in enumerate(folds):
                record = records[c, f][j]
                if record.log_prob is None:
                    line[:] = np.nan
                    where = f"{cell.label + ', ' if cell.label else ''}K = {n_experts}"
                    notes.append(
                        f"{where}: no cross-validated value, fold {f + 1} failed: {record.error}"
                    )
                    break
                line[test] = record.log_prob
            lines.append(line)
    return np.array(lines), notes


def _add_cross_validation(table: pd.DataFrame, cv_rows: Floats, sample_weight: Any) -> None:
    """Mean out-of-fold log-likelihood per row, its standard error, and the paired distance."""
    scored = [mean_and_error(line, sample_weight) for line in cv_rows]
    table["cv_loglik"] = [mean for mean, _ in scored]
    table["cv_se"] = [error for _, error in scored]
    if not np.isfinite(table["cv_loglik"]).any():
        table["cv_gap"] = table["cv_gap_se"] = np.nan
        return
    best = int(np.nanargmax(np.where(np.isfinite(table["cv_loglik"]), table["cv_loglik"], -np.inf)))
    gaps = [mean_and_error(cv_rows[best] - line, sample_weight) for line in cv_rows]
    table["cv_gap"] = [mean for mean, _ in gaps]
    table["cv_gap_se"] = [error for _, error in gaps]


def _notes(flat: Sequence[tuple[Cell, FitRecord]]) -> list[str]:
    """What the fits have to say; fits that say the same are named together."""
    said: dict[str, list[str]] = {}
    for cell, record in flat:
        where = f"{cell.label}, K = {record.n_experts}" if cell.label else f"K = {record.n_experts}"
        if record.estimator is None:
            said.setdefault(f"could not be fitted: {record.error}", []).append(where)
        elif record.estimator.status_.name != "CONVERGED":
            said.setdefault(_message(record.estimator), []).append(where)
    notes = [f"{'; '.join(places)} \u2013 {text}" for text, places in said.items()]
    for cell, record in flat:
        notes.extend(f"{cell.label}: {note}" if cell.label else note for note in record.notes)
    if len(_by_density(flat)) == 2:
        notes.append(
            "Some gates model x as well: the log-likelihood, AIC, BIC and ICL of their fits are "
            "those of (x, y). Compare them among each other; the cross-validated log-likelihood "
            "of y given x compares all."
        )
    return notes
