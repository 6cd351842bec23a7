"""Which fit of a study a criterion chooses: scores, the pool of candidates, the winner."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mixexp._component import CRITERIA
from mixexp.em.summary import FitSummary
from mixexp.selection.criteria.information import weights

Floats = NDArray[np.float64]
Summaries = Sequence[FitSummary | None]


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


def add_criterion(table: pd.DataFrame, summaries: Summaries, criterion: Any) -> str:
    """Columns of the deciding criterion: its score, the distance to the best and the weight."""
    if criterion == "cv":
        name, n_units = "cv", max(one.n_units for one in summaries if one is not None)
        scores = -2.0 * n_units * table["cv_loglik"].to_numpy(float)
    else:
        part = CRITERIA[criterion]() if isinstance(criterion, str) else criterion
        name = getattr(part, "name", type(part).__name__.lower())
        scores = scores_of(table, summaries, part)
        table[name] = scores
    eligible = np.where(pool_of(table), scores, np.nan)
    table["score"] = scores
    table["difference"] = scores - np.nanmin(eligible) if np.isfinite(eligible).any() else np.nan
    on_scale = criterion == "cv" or part.deviance
    table["weight"] = weights(eligible) if on_scale else np.nan
    return name


def scores_of(table: pd.DataFrame, summaries: Summaries, part: Any) -> Floats:
    """Scores of the fits that succeeded, by the fits that the criterion may learn from."""
    fitted = table["loglik"].notna().to_numpy()
    groups = [fitted]
    if part.scope == "chain":
        groups = [fitted & (table["cell"] == cell).to_numpy() for cell in table["cell"].unique()]
    elif part.scope == "collection" and (fitted & table["regular"]).any():
        groups = [fitted & table["regular"].to_numpy(bool)]
    scores = np.full(len(summaries), np.nan)
    for group in groups:
        lines = np.flatnonzero(group)
        if len(lines):
            scores[lines] = part.scores([summaries[i] for i in lines.tolist()])
    return scores


def pool_of(table: pd.DataFrame) -> NDArray[np.bool_]:
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
    pool = pool_of(table)
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
