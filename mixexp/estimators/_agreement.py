"""Agreement and conflict between what is asserted of the contexts and what the data say."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from ..kernels.reference import log_softmax, log_sum_exp


@dataclass(frozen=True)
class ContextAgreement:
    """How far assertions of contexts and a fitted model agree.

    omega_ic is the possibility of context c in row i, at most one; r_ic the posterior
    probability of c given x and y by the model alone, and tau_ic that given the assertion too,
    proportional to omega_ic r_ic.

    Attributes
    ----------
    agreement : ndarray of shape (n,)
        sum_c tau_ic omega_ic: one where the row ends in a context that is fully possible.
    conflict : ndarray of shape (n,)
        -log sum_c omega_ic r_ic, in nats: zero where the data prefer what is possible, large
        where they speak for what the assertion excludes.
    informative : ndarray of bool of shape (n,)
        Rows that tell contexts apart. The others have agreement one and conflict zero.
    contexts : DataFrame
        One row per context. ``rows``: sum of tau. ``asserted``: weight of the informative rows in
        which it is fully possible. ``agreement``: how possible it is said to be in the informative
        rows that the data alone give to it, sum_i r_ic omega_ic / sum_i r_ic. ``conflict``:
        mean conflict of the rows in which it is asserted. NaN where there are none.
    """

    agreement: np.ndarray
    conflict: np.ndarray
    informative: np.ndarray
    contexts: pd.DataFrame

    def worst(self, size=10):
        """Positions of the rows of largest conflict, the largest first."""
        return np.argsort(-self.conflict, kind="stable")[:size]

    def __str__(self):
        n = int(self.informative.sum())
        head = f"Agreement of contexts: {n} informative rows of {len(self.informative)}"
        return f"{head}\n{self.contexts.round(4).to_string()}"


def agreement_of(log_joint, omega, weight, names) -> ContextAgreement:
    """From (n, C) logs of pi_c f_c, possibilities with a maximum of one in each row, weights."""
    with np.errstate(divide="ignore"):
        log_omega = np.log(omega)
    log_free = log_softmax(log_joint)
    free, posterior = np.exp(log_free), np.exp(log_softmax(log_joint + log_omega))
    conflict = np.maximum(-log_sum_exp(log_free + log_omega), 0.0)
    agreement = (posterior * omega).sum(axis=1)
    informative = (omega < 1).any(axis=1)
    own = weight * informative
    asserted = own[:, None] * (omega == 1)
    table = pd.DataFrame(
        {
            "rows": weight @ posterior,
            "asserted": asserted.sum(axis=0),
            "agreement": _ratio(own @ (free * omega), own @ free),
            "conflict": _ratio(conflict @ asserted, asserted.sum(axis=0)),
        },
        index=pd.Index(names, name="context"),
    )
    return ContextAgreement(agreement, conflict, informative, table)


def _ratio(above, below):
    out = np.full(len(below), np.nan)
    return np.divide(above, below, out=out, where=below > 0)
