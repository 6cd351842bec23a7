"""`StudyResult`: what a study found, as plain values."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mixexp._component import CRITERIA, resolve
from mixexp.selection.study.values import model_values, plain
from mixexp.selection.study.wording import NUMBERS, cv_strength, describe_gap, joined, strength

FORMAT = "mixexp-study"
VERSION = 1
TITLES = {"aic": "AIC", "bic": "BIC", "icl": "ICL", "cv": "cross-validation"}


@dataclass(frozen=True)
class StudyResult:
    """The outcome of a `SelectionStudy`.

    Attributes
    ----------
    table : DataFrame
        One line for each fit: label, n_experts, loglik, n_free, aic, bic, icl, cv_loglik (per
        row), cv_se, score and difference and weight of the deciding criterion, regular, status,
        n_iter, optima (distinct ones met), hits (starts that met the best), chosen.
    criterion : str
        What decided.
    chosen : int
        Line of the winner.
    models : dict of int to estimator
        Fitted models by line of the table.
    cells : dict of int to dict
        Settings by line of the table.
    cv_log_prob : ndarray of shape (fits, n) or None
        Out-of-fold log-densities, NaN where a row was never tested. That of a group of rows
        stands at its first row, with NaN at the others.
    fit_notes, choice_notes : tuple of str
        What a reader has to know of the fits, and of the choice; ``notes`` are both.
    data : dict
        Description of the data.
    settings : dict
        Settings of the study.
    weights : ndarray of shape (n,) or None
        Weights of the rows.
    """

    table: pd.DataFrame
    criterion: str
    chosen: int
    models: Mapping[int, Any]
    cells: Mapping[int, Mapping[str, Any]]
    cv_log_prob: NDArray[np.float64] | None
    fit_notes: tuple[str, ...]
    choice_notes: tuple[str, ...]
    data: Mapping[str, Any]
    settings: Mapping[str, Any]
    weights: NDArray[np.float64] | None = field(default=None, repr=False)

    @property
    def notes(self) -> tuple[str, ...]:
        """What a reader has to know of the fits and of the choice."""
        return self.fit_notes + self.choice_notes

    @property
    def best_estimator_(self) -> Any:
        """The winner, fitted on all rows."""
        return self.models[self.chosen]

    @property
    def best_params_(self) -> dict[str, Any]:
        """Settings of the winner."""
        return dict(self.cells[self.chosen])

    @property
    def criterion_title(self) -> str:
        """Name of the deciding criterion in text."""
        known = CRITERIA.get(self.criterion)
        return TITLES.get(self.criterion, getattr(known, "label", self.criterion))

    @property
    def on_deviance_scale(self) -> bool:
        """Whether differences and weights of the deciding criterion have a meaning."""
        return bool(getattr(CRITERIA.get(self.criterion), "deviance", True))

    @property
    def baseline(self) -> int | None:
        """Line of the single-expert fit beside the winner; None if it failed."""
        same = self.table["cell"] == self.table["cell"].iloc[self.chosen]
        lines = self.table.index[same & (self.table["n_experts"] == 1)]
        return int(lines[0]) if len(lines) and int(lines[0]) in self.models else None

    @property
    def runner_up(self) -> int | None:
        """Line of the next best fit by the deciding criterion; None if there is no other."""
        others = self.table[(self.table["weight"] > 0) | self.table["regular"]]
        others = others[others["in_grid"] & (others.index != self.chosen)]
        scores = others["score"].dropna()
        return int(scores.idxmin()) if len(scores) else None

    @property
    def curves(self) -> pd.DataFrame:
        """The criteria over the number of experts, long: cell, n_experts, criterion, value, se."""
        parts = []
        for name in [c for c in ("aic", "bic", "icl", "cv_loglik") if c in self.table]:
            part = self.table[["cell", "n_experts", "regular"]].copy()
            part["criterion"], part["value"] = name, self.table[name]
            part["se"] = self.table["cv_se"] if name == "cv_loglik" else np.nan
            parts.append(part)
        return pd.concat(parts, ignore_index=True)

    def by(self, criterion: Any, *, one_se: bool = False) -> StudyResult:
        """The same fits read by another criterion; nothing is fitted again.

        Parameters
        ----------
        criterion : str or Criterion
            As for `SelectionStudy`; "cv" needs a study with folds.
        one_se : bool, default=False
            With "cv": the fewest parameters within one paired standard error of the best.

        Raises
        ------
        ValueError
            If the criterion is unknown, or cannot score these fits.
        """
        from mixexp.selection.study.choice import add_criterion, choose

        if criterion == "cv" and self.cv_log_prob is None:
            raise ValueError("criterion='cv' needs a study with folds: SelectionStudy(..., cv=5).")
        if isinstance(criterion, str) and criterion != "cv":
            resolve(criterion, CRITERIA, "criterion")
        table = self.table.copy()
        name = add_criterion(table, self._summaries, criterion)
        cv_rows = np.empty((len(table), 0)) if self.cv_log_prob is None else self.cv_log_prob
        chosen, notes = choose(table, name, one_se, cv_rows, self.weights)
        table["chosen"] = table.index == chosen
        settings = {**self.settings, "one_se": bool(one_se)}
        return replace(
            self,
            table=table,
            criterion=name,
            chosen=chosen,
            choice_notes=tuple(notes),
            settings=settings,
        )

    def choices(self) -> pd.DataFrame:
        """What every criterion chooses from these fits, without fitting again.

        Returns
        -------
        DataFrame
            One line for each criterion that can score them: criterion (its name), title, line
            and label of its choice, and runner_up, the label of its next. Criteria that need
            more fits, or cannot compare these, are left out.
        """
        rows = []
        for name in [*CRITERIA, *(["cv"] if self.cv_log_prob is not None else [])]:
            try:
                found = self.by(name)
            except ValueError:
                continue
            second = found.runner_up
            rows.append(
                {
                    "criterion": name,
                    "title": found.criterion_title,
                    "line": found.chosen,
                    "label": found.table.loc[found.chosen, "label"],
                    "runner_up": None if second is None else found.table.loc[second, "label"],
                }
            )
        return pd.DataFrame(rows)

    def slope(self, heuristic: Any = None) -> Any:
        """What slope heuristics find in the regular fits, to be drawn.

        Parameters
        ----------
        heuristic : SlopeHeuristic, optional
            The default is data-driven slope estimation.

        Returns
        -------
        SlopeEstimation or DimensionJump

        Raises
        ------
        ValueError
            If there are too few regular fits.
        """
        part = resolve("slope" if heuristic is None else heuristic, CRITERIA, "criterion")
        good = self.table.index[self.table["regular"] & self.table["loglik"].notna()]
        return part.result([self.models[int(i)] for i in good])

    @property
    def _summaries(self) -> list[Any]:
        """`FitSummary` of every line; None where the fit failed."""
        return [
            self.models[i].fit_summary_ if i in self.models else None
            for i in range(len(self.table))
        ]

    def winners(self) -> dict[str, int]:
        """The line that each shown criterion would choose among the regular fits of the grid."""
        pool = self.table[self.table["in_grid"] & self.table["loglik"].notna()]
        pool = pool[pool["regular"]] if pool["regular"].any() else pool
        found = {}
        for name in ("aic", "bic", "icl"):
            values = pool[name].replace([np.inf, -np.inf], np.nan).dropna()
            if len(values):
                found[name] = int(values.idxmin())
        if "cv_loglik" in pool and np.isfinite(pool["cv_loglik"]).any():
            found["cv"] = int(pool["cv_loglik"].idxmax())
        return found

    def headline(self) -> str:
        """The winner and how close the others are, in a few sentences."""
        sentences = [self._winner_sentence(), self._runner_up_sentence()]
        sentences += [self._baseline_sentence(), self._agreement_sentence()]
        return " ".join(sentence for sentence in sentences if sentence)

    def _winner_sentence(self) -> str:
        row = self.table.loc[self.chosen]
        count = int(row["n_experts"])
        noun = "expert" if count == 1 else "experts"
        verb = "is" if count == 1 else "are"
        kind = f" ({row['cell']})" if row["cell"] else ""
        number = NUMBERS[count] if count < len(NUMBERS) else str(count)
        how = f"by {self.criterion_title}"
        return f"{number.capitalize()} {noun}{kind} {verb} chosen {how} ({self._value(row)})."

    def _value(self, row: Any) -> str:
        if self.criterion == "cv":
            return f"{row['cv_loglik']:.4g} per row, standard error {row['cv_se']:.2g}"
        return f"{row['score']:.1f}" if self.on_deviance_scale else f"{row['score']:.3g}"

    def _runner_up_sentence(self) -> str:
        if self.runner_up is None:
            return ""
        row, best = self.table.loc[self.runner_up], self.table.loc[self.chosen]
        if self.criterion == "cv":
            gap, error = self.paired_gap(self.runner_up)
            return (
                f"Next is {row['label']}, {describe_gap(gap)} per row (paired standard error "
                f"{error:.2g}): {cv_strength(gap, error)}."
            )
        gap = row["score"] - best["score"]
        if not self.on_deviance_scale:
            return f"Next is {row['label']} ({self._value(row)})."
        return f"Next is {row['label']}, {gap:.1f} higher: {strength(gap)}."

    def _baseline_sentence(self) -> str:
        line = self.baseline
        if line is None or line == self.chosen or line == self.runner_up:
            return ""
        row, best = self.table.loc[line], self.table.loc[self.chosen]
        if self.criterion == "cv":
            gap, error = self.paired_gap(line)
            return (
                f"The single expert is {describe_gap(gap)} per row (paired standard error "
                f"{error:.2g})."
            )
        if not self.on_deviance_scale:
            return ""
        return f"The single expert is {row['score'] - best['score']:.1f} higher."

    def _agreement_sentence(self) -> str:
        winners = self.winners()
        others = {n: i for n, i in winners.items() if n != self.criterion}
        against = {n: i for n, i in others.items() if i != self.chosen}
        if not others:
            return ""
        if not against:
            return f"{joined([TITLES[n] for n in others])} agree{'s' if len(others) == 1 else ''}."
        parts = []
        for line in dict.fromkeys(against.values()):
            names = [TITLES[n] for n, i in against.items() if i == line]
            verb = "prefers" if len(names) == 1 else "prefer"
            parts.append(f"{joined(names)} {verb} {self.table['label'].loc[line]}")
            if "cv" in against and against["cv"] == line and len(names) == 1:
                gap, error = self.paired_gap(line)
                parts[-1] += f", {-gap:.2g} better per row (paired standard error {error:.2g})"
        text = "; ".join(parts) + "."
        return text[0].upper() + text[1:]

    def paired_gap(self, line: int) -> tuple[float, float]:
        """Cross-validated log-likelihood of the winner less that of another line, per row.

        Returns
        -------
        gap, error : float
            The mean over the rows tested and its paired standard error.
        """
        from mixexp.selection.study.choice import mean_and_error

        if self.cv_log_prob is None:
            return np.nan, np.nan
        return mean_and_error(self.cv_log_prob[self.chosen] - self.cv_log_prob[line], self.weights)

    def to_dict(self) -> dict[str, Any]:
        """The result as plain values (no arrays, no NaN)."""
        content = {
            "format": FORMAT,
            "version": VERSION,
            "headline": self.headline(),
            "criterion": self.criterion,
            "chosen": self.chosen,
            "best_params": self.best_params_,
            "table": self.table.to_dict(orient="records"),
            "starts": self.best_estimator_.starts_.to_dict(orient="records"),
            "model": model_values(self.best_estimator_),
            "notes": list(self.notes),
            "data": dict(self.data),
            "settings": dict(self.settings),
        }
        return plain(content)

    def to_json(self, **extra: Any) -> str:
        """Machine-readable text; ``extra`` entries are added at the top level."""
        return json.dumps(self.to_dict() | plain(extra), indent=1, allow_nan=False)
