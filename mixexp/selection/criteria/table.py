"""One table of criteria for a collection of fits."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from mixexp._component import CRITERIA, resolve
from mixexp.em.summary import FitSummary


def criteria_table(fits: Sequence[Any], criteria: Sequence[Any] | None = None) -> pd.DataFrame:
    """Scores of fits by several criteria; the smallest of each column wins.

    Parameters
    ----------
    fits : sequence of fitted estimators or FitSummary
        The collection, all fitted to the same data.
    criteria : sequence of str or Criterion, optional
        Names of the registry or instances; by default all that can score these fits: a criterion
        that cannot (slope heuristics of fewer than ten fits) is then left out.

    Returns
    -------
    DataFrame
        One line for each fit in the given order: n_experts, loglik, n_free, and one column for
        each criterion, headed by its label. ``table[label].idxmin()`` is its choice.

    Raises
    ------
    ValueError
        If there are no fits, or if a criterion that was asked for cannot score them.
    """
    summaries = [summary_of(fit) for fit in fits]
    if not summaries:
        raise ValueError("criteria_table needs at least one fit.")
    table = pd.DataFrame(
        {
            "n_experts": [fit.n_experts for fit in summaries],
            "loglik": [fit.loglik for fit in summaries],
            "n_free": [fit.n_free for fit in summaries],
        }
    )
    for criterion in CRITERIA if criteria is None else criteria:
        part = resolve(criterion, CRITERIA, "criterion")
        try:
            table[part.label] = np.asarray(part.scores(summaries), dtype=float)
        except ValueError:
            if criteria is not None:
                raise
    return table


def summary_of(fit: Any) -> FitSummary:
    """The `FitSummary` of a fitted estimator, or the given one."""
    return fit if isinstance(fit, FitSummary) else fit.fit_summary_
