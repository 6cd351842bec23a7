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
from mixexp.selection import criteria as _criteria
from mixexp.selection._chains import FitRecord, StudyRows
from mixexp.selection.result import StudyResult, describe_data

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
    name = _add_criterion(table, flat, criterion)
    chosen, choice_notes = choose(table, name, one_se, cv_rows, data.sample_weight)
    table["chosen"] = table.index == chosen
    return StudyResult(
        table=table,
        criterion=name,
        chosen=chosen,
        models={i: r.estimator for i, (_, r) in enumerate(flat) if r.estimator is not None},
        cells={i: dict(cell.settings, n_experts=r.n_experts) for i, (cell, r) in enumerate(flat)},
        cv_log_prob=cv_rows if folds else None,
        notes=tuple(notes + cv_notes + choice_notes),
        data=describe_data(data.X, data.y, data.sample_weight),
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
        "message": model.status_.value,
        "converged": bool(model.converged_),
        "n_iter": int(model.n_iter_),
        "optima": len(starts),
        "hits": int(best["hits"].iloc[0]) if len(best) else 0,
    }


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


def mean_and_error(values: Floats, sample_weight: Any) -> tuple[float, float]:
    """Weighted mean over the tested rows and its standard error (weights as repetitions)."""
    tested = ~np.isnan(values)
    weight = np.ones(len(values)) if sample_weight is None else np.asarray(sample_weight, float)
    weight, values = weight[tested], values[tested]
    total = weight.sum()
    if total <= 0:
        return np.nan, np.nan
    mean = float(weight @ values / total)
    if not np.isfinite(mean) or total <= 1:
        return mean, np.nan
    variance = float(weight @ (values - mean) ** 2) / (total - 1)
    return mean, float(np.sqrt(variance / total))


def _add_criterion(
    table: pd.DataFrame, flat: Sequence[tuple[Cell, FitRecord]], criterion: Any
) -> str:
    """Columns of the deciding criterion: its score, the distance to the best and the weight."""
    if criterion == "cv":
        name, n_units = "cv", max(r.summary.n_units for _, r in flat if r.summary is not None)
        scores = -2.0 * n_units * table["cv_loglik"].to_numpy(float)
    else:
        part = CRITERIA[criterion]() if isinstance(criterion, str) else criterion
        name = getattr(part, "name", type(part).__name__.lower())
        scores = _scores(table, flat, part)
        table[name] = scores
    eligible = np.where(_pool(table), scores, np.nan)
    table["score"] = scores
    table["difference"] = scores - np.nanmin(eligible) if np.isfinite(eligible).any() else np.nan
    on_scale = criterion == "cv" or part.deviance
    table["weight"] = _criteria.weights(eligible) if on_scale else np.nan
    return name


def _scores(table: pd.DataFrame, flat: Sequence[tuple[Cell, FitRecord]], part: Any) -> Floats:
    """Scores of the fits that succeeded, by the fits that the criterion may learn from."""
    fitted = table["loglik"].notna().to_numpy()
    groups = [fitted]
    if part.scope == "chain":
        groups = [fitted & (table["cell"] == cell).to_numpy() for cell in table["cell"].unique()]
    elif part.scope == "collection" and (fitted & table["regular"]).any():
        groups = [fitted & table["regular"].to_numpy(bool)]
    scores = np.full(len(flat), np.nan)
    for group in groups:
        lines = np.flatnonzero(group)
        if len(lines):
            scores[lines] = part.scores([flat[i][1].summary for i in lines.tolist()])
    return scores


def _pool(table: pd.DataFrame) -> NDArray[np.bool_]:
    """Fits that may be chosen: asked for, and regular while a regular one exists."""
    fitted = table["loglik"].notna() & table["in_grid"]
    if not fitted.any():
        fitted = table["loglik"].notna()
    regular = fitted & table["regular"]
    return (regular if regular.any() else fitted).to_numpy(bool)


def choose(
    table: pd.DataFrame, name: str, one_se: bool, cv_rows: Floats, sample_weight: Any
) -> tuple[int, list[str]]:
    """The line of the winner, and what has to be said about the choice."""
    pool = _pool(table)
    scores = np.where(pool, table["score"].to_numpy(float), np.nan)
    notes = []
    if not np.isfinite(scores).any():
        raise ValueError(
            "No fit has a finite cross-validated log-likelihood; choose by another criterion."
            if name == "cv"
            else f"No fit has a finite {name} score."
        )
    best = int(np.nanargmin(np.where(np.isfinite(scores), scores, np.nan)))
    if not table["regular"].iloc[best]:
        notes.append("No regular fit exists: the chosen one is degenerate and must not be trusted.")
    better = ~pool & table["in_grid"] & (table["score"] < scores[best])
    for label in table.loc[better, "label"]:
        notes.append(f"{label} has a better score, but its fit is degenerate: not chosen.")
    if name == "cv" and one_se:
        best = _within_one_error(table, pool, best, cv_rows, sample_weight, notes)
    return best, notes


def _within_one_error(
    table: pd.DataFrame,
    pool: NDArray[np.bool_],
    best: int,
    cv_rows: Floats,
    sample_weight: Any,
    notes: list[str],
) -> int:
    gaps = [mean_and_error(cv_rows[best] - line, sample_weight) for line in cv_rows]
    near = [i for i in np.flatnonzero(pool) if i == best or gaps[i][0] <= gaps[i][1]]
    simplest = min(near, key=lambda i: (table["n_free"].iloc[i], table["score"].iloc[i]))
    if simplest != best:
        notes.append(
            f"{table['label'].iloc[best]} predicts best; {table['label'].iloc[simplest]} has fewer "
            "parameters and is within one standard error (paired over the rows)."
        )
    return int(simplest)


def _notes(flat: Sequence[tuple[Cell, FitRecord]]) -> list[str]:
    """What the fits have to say; fits that say the same are named together."""
    said: dict[str, list[str]] = {}
    for cell, record in flat:
        where = f"{cell.label}, K = {record.n_experts}" if cell.label else f"K = {record.n_experts}"
        if record.estimator is None:
            said.setdefault(f"could not be fitted: {record.error}", []).append(where)
        elif record.estimator.status_.name != "CONVERGED":
            said.setdefault(record.estimator.status_.value, []).append(where)
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
