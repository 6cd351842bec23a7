"""NEC: a criterion that compares what the experts gain with how much they overlap."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from mixexp._component import CRITERIA, register
from mixexp.em.summary import FitSummary, check_comparable
from mixexp.selection.criteria.information import Criterion, Floats


@register(CRITERIA, "nec")
class NEC(Criterion):
    """Normalised entropy, ``E(K) / (loglik(K) - loglik(1))``; 1 for one expert.

    E is the entropy of the responsibilities. Smaller is better, but this is a ratio and not a
    deviance. K > 1 experts are worth having where the best ratio is below one; the value 1 for
    one expert is the convention of Biernacki, Celeux and Govaert (1999). A fit that does not
    beat the single expert in log-likelihood has an infinite score.

    The fits must be of one chain: the same data, family and settings, and different numbers of
    experts, one expert among them. A study scores every chain against its own single expert.

    References
    ----------
    Celeux and Soromenho (1996), "An entropy criterion for assessing the number of clusters in a
    mixture model", Journal of Classification 13, 195-212; Biernacki, Celeux and Govaert (1999),
    "An improvement of the NEC criterion", Pattern Recognition Letters 20, 267-272.
    """

    label = "NEC"
    meaning = (
        "NEC divides the overlap of the experts (entropy) by what they gain over one expert in "
        "log-likelihood: below 1 the division is worth having. It is a ratio, not a deviance."
    )
    scope = "chain"
    deviance = False

    def scores(self, fits: Sequence[FitSummary]) -> Floats:
        """Score every fit of the chain; see `Criterion.scores`.

        Raises
        ------
        ValueError
            If there is no fit with one expert, or more than one.
        """
        check_comparable(fits)
        single = [fit for fit in fits if fit.n_experts == 1]
        if len(single) != 1:
            raise ValueError(
                f"NEC needs exactly one fit with one expert among the fits; got {len(single)} of "
                f"{len(fits)}. Give it one chain over the number of experts, n_experts=1 included."
            )
        return np.array([_nec(fit, single[0]) for fit in fits], dtype=float)


def _nec(fit: FitSummary, single: FitSummary) -> float:
    if fit.n_experts == 1:
        return 1.0
    gain = fit.loglik - single.loglik
    return fit.entropy / gain if gain > 0 else np.inf
