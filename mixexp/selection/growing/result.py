"""`TreeGrowth`: the steps of a growing tree, as plain values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mixexp.selection.study.wording import NUMBERS, strength

SHOWN = ["n_experts", "tree", "split", "loglik", "n_free", "score", "gain", "regular", "chosen"]


@dataclass(frozen=True)
class TreeGrowth:
    """A tree grown split by split; see `grow_tree`.

    Attributes
    ----------
    table : DataFrame
        One line for each step, from one expert on: n_experts; tree; split, the expert that was
        split (-1 at the first); rearranged, whether subtrees changed places then; loglik and
        n_free of the fit; score of the criterion, smaller is better; gain, the fall of the score;
        heldout_loglik per held-out unit (NaN without held-out rows); regular; status; chosen.
    candidates : DataFrame
        One line for each split that was tried, before any rearrangement: step (the line of the
        table that it starts from), split, loglik, score, gain, regular, taken, note (why there is
        no fit). Those of the last step say why the growth ended there.
    criterion : str
        Title of what decided.
    chosen : int
        Line of the winner.
    models : tuple of fitted estimators
        One for each line of the table.
    model : fitted estimator
        The winner, fitted to all rows.
    held_out : ndarray of int or None
        Positions of the rows that were held out of the steps.
    ended : str
        Why the growth ended: "no gain", "max_experts" or "stopped".
    """

    table: pd.DataFrame
    candidates: pd.DataFrame
    criterion: str
    chosen: int
    models: tuple[Any, ...]
    model: Any
    ended: str
    settings: Mapping[str, Any]
    held_out: NDArray[np.intp] | None = field(default=None, repr=False)

    @property
    def tree(self) -> Any:
        """The chosen tree: nested tuples of expert numbers; 0 for one expert."""
        return self.table.loc[self.chosen, "tree"]

    def headline(self) -> str:
        """The chosen tree, what its last split gained, and why it grew no further."""
        sentences = [self._chosen_sentence(), self._last_sentence(), self._end_sentence()]
        return " ".join(sentence for sentence in sentences if sentence)

    def _chosen_sentence(self) -> str:
        row = self.table.loc[self.chosen]
        count = int(row["n_experts"])
        number = NUMBERS[count] if count < len(NUMBERS) else str(count)
        shape = f" in the tree {row['tree']}" if count > 1 else ""
        noun = "expert is" if count == 1 else f"experts{shape} are"
        return f"{number.capitalize()} {noun} chosen by {self.criterion} ({self._score(row)})."

    def _score(self, row: Any) -> str:
        if self.held_out is not None:
            return f"{row['heldout_loglik']:.4g} per unit held out"
        return f"{row['score']:.1f}"

    def _last_sentence(self) -> str:
        if self.chosen == 0:
            return ""
        row = self.table.loc[self.chosen]
        moved = ", after which subtrees changed places," if row["rearranged"] else ","
        return f"Its last split, of expert {row['split']}{moved} {self._gained(row['gain'])}."

    def _gained(self, gain: float) -> str:
        if self.held_out is not None:
            return f"gained {gain / 2:.1f} of held-out log-likelihood"
        return f"lowered {self.criterion} by {gain:.1f}: {strength(gain)}"

    def _end_sentence(self) -> str:
        here = self.candidates[self.candidates["step"] == self.chosen]
        open_ = here[here["regular"] & ~here["taken"]]
        if self.ended == "max_experts" and self.chosen == len(self.table) - 1:
            return f"The growth ended at max_experts={self.settings['max_experts']}."
        if self.ended == "stopped" and not len(open_):
            return "The growth was stopped."
        tried = here[here["regular"]]
        if not len(tried):
            return "No further split gives a regular fit."
        best = tried.loc[tried["gain"].idxmax()]
        if self.held_out is not None:
            return (
                f"The best further split, of expert {best['split']}, would change the held-out "
                f"log-likelihood by {best['gain'] / 2:+.1f}."
            )
        return (
            f"The best further split, of expert {best['split']}, would change it by "
            f"{-best['gain']:+.1f}."
        )

    def __str__(self) -> str:
        names = SHOWN if self.held_out is None else [*SHOWN[:4], "heldout_loglik", *SHOWN[5:]]
        table = self.table[names].rename(columns={"score": self.criterion})
        return f"{self.headline()}\n\n{table.to_string(index=False, float_format='%.4f')}"
