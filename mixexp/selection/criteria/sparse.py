"""Criteria for fits whose penalties set slopes to zero."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.special import gammaln

from mixexp._component import CRITERIA, register
from mixexp.em.summary import FitSummary, check_comparable
from mixexp.selection.criteria.information import Criterion, Floats, bic


@register(CRITERIA, "mbic")
class ModifiedBIC(Criterion):
    """BIC of penalised fits, ``-2 loglik + d log(n)`` with d the non-zero parameters.

    The log-likelihood is that of the penalised estimate, without its penalty. ``n_free`` counts
    non-zero coefficients wherever a penalty sets some to zero, so by default this is `BIC`; its
    name says what it does with such fits, and ``count`` offers the count of the R package HDME.

    Parameters
    ----------
    count : {"all", "slopes"}, default="all"
        "all" counts the non-zero slopes of gate and experts and every intercept and dispersion.
        "slopes" counts the non-zero slopes alone, as HDME does; fits of different numbers of
        experts are then not comparable, since each expert's intercept and dispersion are left
        out.

    References
    ----------
    Chamroukhi and Huynh (2019), "Regularized maximum likelihood estimation and feature selection
    in mixtures-of-experts models", Journal de la Societe Francaise de Statistique 160, 57-85.
    """

    label = "mBIC"
    meaning = (
        "Modified BIC counts only the coefficients that a penalty has not set to zero, as BIC does "
        "here."
    )

    def __init__(self, count: str = "all") -> None:
        self.count = count

    def scores(self, fits: Sequence[FitSummary]) -> Floats:
        """Score every fit of the collection; see `Criterion.scores`."""
        check_comparable(fits)
        if self.count not in ("all", "slopes"):
            raise ValueError(f"ModifiedBIC count must be 'all' or 'slopes', got {self.count!r}.")
        return np.array(
            [-2.0 * fit.loglik + self._degrees(fit) * np.log(fit.n_units) for fit in fits],
            dtype=float,
        )

    def _degrees(self, fit: FitSummary) -> int:
        if self.count == "all":
            return fit.n_free
        if fit.n_slopes is None:
            raise ValueError(
                "ModifiedBIC(count='slopes') needs the number of slopes, which this fit "
                "does not record (a file of an earlier version). Fit it again."
            )
        return fit.n_slopes


@register(CRITERIA, "ebic")
class EBIC(Criterion):
    """Extended BIC, ``-2 loglik + d log(n) + 2 gamma log C(P, s)``.

    d counts the non-zero parameters, P the free slopes that were offered (of all columns,
    in gate and experts together) and s those that are not zero: C(P, s) models have as many
    slopes, and BIC would let the best of them win by their number. Without zero slopes C(P, s)
    is one and EBIC is BIC.

    Parameters
    ----------
    gamma : float, default=0.5
        Between 0 (`BIC`) and 1; the larger, the fewer columns are kept by chance when
        they are many.

    References
    ----------
    Chen and Chen (2008), "Extended Bayesian information criteria for model selection with large
    model spaces", Biometrika 95, 759-771.
    """

    label = "EBIC"
    meaning = (
        "EBIC is BIC over the non-zero coefficients, with a further charge for having had many "
        "columns to choose from. Without zero coefficients it is BIC."
    )

    def __init__(self, gamma: float = 0.5) -> None:
        self.gamma = gamma

    def scores(self, fits: Sequence[FitSummary]) -> Floats:
        """Score every fit of the collection; see `Criterion.scores`."""
        check_comparable(fits)
        if not 0 <= self.gamma <= 1:
            raise ValueError(f"EBIC gamma must lie between 0 and 1, got {self.gamma!r}.")
        return np.array([self._score(fit) for fit in fits], dtype=float)

    def _score(self, fit: FitSummary) -> float:
        if fit.n_slopes is None or fit.n_candidates is None:
            return bic(fit)  # not counted: no slope is taken to be zero
        return bic(fit) + 2.0 * self.gamma * _log_choose(fit.n_candidates, fit.n_slopes)


def _log_choose(n: int, k: int) -> float:
    return float(gammaln(n + 1) - gammaln(k + 1) - gammaln(n - k + 1))
