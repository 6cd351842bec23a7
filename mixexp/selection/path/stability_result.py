"""`StabilityResult`: how often columns were selected, which of them are stable, and the bounds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mixexp.selection.path._bounds import unimodal, worst_case
from mixexp.selection.path._offered import Offered
from mixexp.selection.path._selected import Selected
from mixexp.selection.path._setting import Setting

PARTS = ("any", "expert", "gate")
SHOWN = 12  # columns of a printed result
ROUNDING = 1e-9  # a frequency of 0.75 reaches a threshold of 0.75 however it was summed
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class StabilityResult:
    """The outcome of `StabilitySelection`.

    Only columns are counted that a penalty decides about: not constant ones, nor those of weight 0
    or inf.

    Attributes
    ----------
    table : DataFrame
        One line for each column: its largest frequency along the path in any part of the model,
        in any expert, in the gate, and in each expert ("expert 1", ...; NaN where it was not
        offered), and whether it is selected.
    strengths : DataFrame
        One line for each of the T places: chain, alpha_gate, alpha_expert, and the share of the
        halves that reached it. Others keep their last selection there.
    frequency : dict of "any", "expert" and "gate" to (T, p) ndarrays
        Share of the halves whose fit uses a column in any part, in any expert, or in the gate.
        They do not depend on how experts are numbered.
    by_expert : (T, K, p) ndarray
        The share for each expert; experts of the halves are numbered as those of the fit to all
        rows at the same place that shares most rows with them.
    names : dict of "any", "expert" and "gate" to lists of str
        Columns of ``frequency``.
    n_selected : dict of "any", "expert" and "gate" to (2 n_pairs,) ndarrays
        Number of columns that each half has selected along its whole path.
    n_pairs, threshold, max_columns
        As given.
    """

    table: pd.DataFrame
    strengths: pd.DataFrame
    frequency: Mapping[str, Floats]
    by_expert: Floats
    names: Mapping[str, list[str]]
    n_selected: Mapping[str, NDArray[np.intp]]
    n_pairs: int
    threshold: float
    max_columns: int | None

    @classmethod
    def assemble(
        cls, setting: Setting, names, found: list[Selected], n_pairs, threshold, max_columns
    ) -> StabilityResult:
        """The result from what the halves have selected; names are those of X's columns."""
        offered = Offered.of(setting.model)
        totals: dict[str, Any] = {part: 0.0 for part in PARTS}
        sizes: dict[str, list[int]] = {part: [] for part in PARTS}
        by_expert: Any = 0.0
        for one in found:
            by_expert = by_expert + one.expert
            for part, used in offered.parts(one.gate, one.expert).items():
                totals[part] = totals[part] + used
                sizes[part].append(int(used.any(axis=0).sum()))
        frequency = {part: totals[part] / len(found) for part in PARTS}
        by_expert = by_expert / len(found)
        strengths = _strengths(setting, np.mean([one.reached for one in found], axis=0))
        named = {part: [names[j] for j in getattr(offered, part)] for part in PARTS}
        table = _table(offered, named["any"], frequency, by_expert)
        table["selected"] = table["any"] >= threshold - ROUNDING
        return cls(
            table,
            strengths,
            frequency,
            by_expert,
            named,
            {part: np.array(values) for part, values in sizes.items()},
            n_pairs,
            threshold,
            max_columns,
        )

    def selected(self, part: str = "any", threshold: float | None = None) -> list[str]:
        """Names of the columns whose largest frequency along the path reaches the threshold.

        Parameters
        ----------
        part : {"any", "expert", "gate"}
            Used anywhere, in any expert, or in the gate.
        threshold : float in (0.5, 1], optional
            Another than the one that was given.
        """
        level = self._level(part, threshold)
        largest = self.frequency[part].max(axis=0)
        return [
            name
            for name, share in zip(self.names[part], largest, strict=True)
            if share >= level - ROUNDING
        ]

    def bounds(self, part: str = "any", threshold: float | None = None) -> pd.DataFrame:
        """Upper bounds on the expected number of falsely selected columns.

        Parameters
        ----------
        part, threshold
            As for `selected`.

        Returns
        -------
        DataFrame
            Three lines, with the bound, the columns that it counts, and what it assumes:

            - Meinshausen and Buhlmann (2010), theorem 1: q^2 / ((2 threshold - 1) p) noise columns,
              if the selections of noise columns are exchangeable and the fits are no worse than
              guessing;
            - Shah and Samworth (2013), theorem 1: as many columns that a half selects with
              probability at most q / p, without assumptions;
            - their theorem 2: fewer of these, if the shares of pairs that agree on a column are
              unimodal. NaN where the theorem says nothing: q too large, or the threshold too low.

            Here p is the number of columns, and q of those a half selects along its path:
            ``max_columns``, or their mean where no limit was set: the bounds are estimates then.
        """
        level, p = self._level(part, threshold), len(self.names[part])
        q = self.n_used(part)
        worst = worst_case(q, p, level) if p else 0.0
        rare = f"chance <= {q / max(p, 1):.3g}"
        lines = [
            (worst, "noise", "exchangeable noise, better than guessing"),
            (worst, rare, "nothing"),
            (unimodal(q, p, level, self.n_pairs) if p else 0.0, rare, "unimodal agreement"),
        ]
        index = ["Meinshausen-Bühlmann", "Shah-Samworth", "Shah-Samworth, unimodal"]
        return pd.DataFrame(lines, index=index, columns=["bound", "counts", "assumes"])

    def n_used(self, part: str = "any") -> float:
        """The q of the bounds: ``max_columns``, or the mean number that the halves select."""
        if self.max_columns is not None:
            return float(min(self.max_columns, len(self.names[part])))
        return float(self.n_selected[part].mean())

    def _level(self, part, threshold) -> float:
        if part not in PARTS:
            raise ValueError(f"part must be 'any', 'expert' or 'gate'; got {part!r}.")
        level = self.threshold if threshold is None else threshold
        check_threshold(level)
        return level

    def __str__(self) -> str:
        chosen, bounds = self.selected(), self.bounds()["bound"]
        known = "at most" if self.max_columns is not None else "on average"
        tighter = f", {bounds.iloc[2]:.3g} (unimodal)" if np.isfinite(bounds.iloc[2]) else ""
        lines = [
            f"Stability selection: {self.n_pairs} pairs of halves, {len(self.strengths)} "
            f"strengths, threshold {self.threshold:g}",
            f"{len(chosen)} of {len(self.names['any'])} columns selected; a half selects {known} "
            f"{self.n_used():.3g}",
            f"Expected falsely selected: at most {bounds.iloc[0]:.3g} (worst case){tighter}",
            "",
            self.table.sort_values("any", ascending=False, kind="stable")
            .head(SHOWN)
            .to_string(float_format="{:.2f}".format),
        ]
        left = len(self.table) - SHOWN
        return "\n".join(lines + ([f"... and {left} more columns"] if left > 0 else []))

    __repr__ = __str__


def check_threshold(threshold: Any) -> None:
    """Raise a ValueError for a threshold under which no bound holds."""
    number = isinstance(threshold, int | float | np.number) and not isinstance(threshold, bool)
    if not number or not 0.5 < threshold <= 1:
        raise ValueError(
            "threshold must be a number in (0.5, 1], since no bound holds below; got "
            f"{threshold!r}."
        )


def _table(offered: Offered, names, frequency, by_expert) -> pd.DataFrame:
    """Largest frequencies along the path, one line for each column."""
    columns = {part: offered.widened(frequency[part].max(axis=0), part) for part in PARTS}
    for k, largest in enumerate(offered.widened(by_expert.max(axis=0), "expert"), start=1):
        columns[f"expert {k}"] = largest
    return pd.DataFrame(columns, index=pd.Index(names, name="column"))


def _strengths(setting: Setting, reached) -> pd.DataFrame:
    places = [(c, *place) for c, chain in enumerate(setting.chains) for place in chain]
    table = pd.DataFrame(places, columns=["chain", "alpha_gate", "alpha_expert"])
    return table.astype({"alpha_gate": float, "alpha_expert": float}).assign(reached=reached)
