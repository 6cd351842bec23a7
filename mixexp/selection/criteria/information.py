"""Criteria that compare fitted mixtures of experts: smaller is better, on the deviance scale."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mixexp._component import CRITERIA, Component, register
from mixexp.em.summary import FitSummary, check_comparable

Floats = NDArray[np.float64]


class Criterion(Component, ABC):
    """A score for each fit of a collection: ``-2 loglik + penalty``, so smaller is better.

    A criterion sees the whole collection at once, because some learn from it: `SlopeHeuristic`
    its penalty, `NEC` the fit with one expert. The others use each fit alone.

    Attributes
    ----------
    label : str
        Its name in tables and figures.
    meaning : str
        One sentence for the reader of a report.
    scope : {"fit", "chain", "collection"}
        What a score depends on: its fit alone; the fits of one chain over the number of experts,
        which a study then scores chain by chain; or the whole collection, from which a study
        leaves out the fits that are not regular.
    least_fits : int
        Fits that it needs at least.
    deviance : bool
        Whether scores are on the deviance scale, so that differences and weights have a meaning.
    """

    label: str = ""
    meaning: str = ""
    scope: str = "fit"
    least_fits: int = 1
    deviance: bool = True

    @abstractmethod
    def scores(self, fits: Sequence[FitSummary]) -> Floats:
        """Score every fit of the collection.

        Parameters
        ----------
        fits : sequence of FitSummary
            What the criteria need of each fit: log-likelihood, free parameters, number of units
            (the sum of the weights) and the entropies of the responsibilities.

        Returns
        -------
        ndarray of shape (len(fits),)
            The scores; the smallest wins.

        Raises
        ------
        ValueError
            If some fits model (x, y) jointly and others y given x: their log-likelihoods are not
            comparable (`mixexp.em.summary.check_comparable`).
        """


@register(CRITERIA, "aic")
class AIC(Criterion):
    """Akaike's criterion, ``-2 loglik + 2 d`` (Akaike 1974)."""

    label = "AIC"
    meaning = (
        "AIC (-2 log-likelihood + 2 x parameters) estimates how well the model predicts new data. "
        "It tends to choose more experts than BIC."
    )

    def scores(self, fits: Sequence[FitSummary]) -> Floats:
        """Score every fit of the collection; see `Criterion.scores`."""
        check_comparable(fits)
        return np.array([-2.0 * fit.loglik + 2.0 * fit.n_free for fit in fits], dtype=float)


@register(CRITERIA, "aicc")
class AICc(Criterion):
    """AIC with the small-sample term ``2 d (d + 1) / (n - d - 1)`` (Hurvich and Tsai 1989).

    Infinite where a fit has as many parameters as units.
    """

    label = "AICc"
    meaning = "AICc is AIC with a heavier penalty when rows are few for the number of parameters."

    def scores(self, fits: Sequence[FitSummary]) -> Floats:
        """Score every fit of the collection; see `Criterion.scores`."""
        check_comparable(fits)
        return np.array([_aicc(fit) for fit in fits], dtype=float)


@register(CRITERIA, "aic3")
class AIC3(Criterion):
    """AIC with three instead of two a parameter, ``-2 loglik + 3 d`` (Bozdogan 1994)."""

    label = "AIC3"
    meaning = "AIC3 (-2 log-likelihood + 3 x parameters) lies between AIC and BIC."

    def scores(self, fits: Sequence[FitSummary]) -> Floats:
        """Score every fit of the collection; see `Criterion.scores`."""
        check_comparable(fits)
        return np.array([-2.0 * fit.loglik + 3.0 * fit.n_free for fit in fits], dtype=float)


@register(CRITERIA, "bic")
class BIC(Criterion):
    """Schwarz's criterion, ``-2 loglik + d log(n)``; n is the sum of the weights (Schwarz 1978)."""

    label = "BIC"
    meaning = (
        "BIC (-2 log-likelihood + parameters x log(rows)) looks for the smallest model that "
        "explains the data. Differences under 2 are a tie, above 10 they are decisive."
    )

    def scores(self, fits: Sequence[FitSummary]) -> Floats:
        """Score every fit of the collection; see `Criterion.scores`."""
        check_comparable(fits)
        return np.array([bic(fit) for fit in fits], dtype=float)


@register(CRITERIA, "caic")
class CAIC(Criterion):
    """Consistent AIC, ``-2 loglik + d (log(n) + 1)`` (Bozdogan 1987)."""

    label = "CAIC"
    meaning = (
        "CAIC is BIC with one more for each parameter: it chooses the same model or a smaller."
    )

    def scores(self, fits: Sequence[FitSummary]) -> Floats:
        """Score every fit of the collection; see `Criterion.scores`."""
        check_comparable(fits)
        return np.array([bic(fit) + fit.n_free for fit in fits], dtype=float)


@register(CRITERIA, "icl")
class ICL(Criterion):
    """Integrated classification likelihood: BIC plus twice the entropy of the responsibilities.

    Parameters
    ----------
    entropy : {"soft", "hard"}, default="soft"
        "soft" adds ``2 E`` with ``E = -sum_i w_i sum_k r_ik log r_ik``; "hard" adds
        ``-2 sum_i w_i log max_k r_ik``, the classification form of Biernacki, Celeux and
        Govaert (2000).
    """

    label = "ICL"
    meaning = (
        "ICL is BIC plus a penalty for experts that overlap: it prefers experts that divide the "
        "rows clearly, and so tends to choose fewer."
    )

    def __init__(self, entropy: str = "soft") -> None:
        self.entropy = entropy

    def scores(self, fits: Sequence[FitSummary]) -> Floats:
        """Score every fit of the collection; see `Criterion.scores`."""
        check_comparable(fits)
        if self.entropy not in ("soft", "hard"):
            raise ValueError(f"ICL entropy must be 'soft' or 'hard', got {self.entropy!r}.")
        field = "entropy" if self.entropy == "soft" else "hard_entropy"
        return np.array([bic(fit) + 2.0 * getattr(fit, field) for fit in fits], dtype=float)


def differences(scores: ArrayLike) -> Floats:
    """Distances to the best score; NaN scores stay NaN."""
    scores = np.asarray(scores, dtype=float)
    if not np.isfinite(scores).any():
        return np.full(scores.shape, np.nan)
    return scores - np.min(scores[np.isfinite(scores)])


def weights(scores: ArrayLike) -> Floats:
    """Akaike or Schwarz weights ``exp(-difference / 2)``, which sum to 1 over the finite scores.

    With BIC they approximate posterior probabilities of the models under equal prior odds
    (Burnham and Anderson 2002, section 2.9).
    """
    gaps = differences(scores)
    raw = np.where(np.isfinite(gaps), np.exp(-0.5 * np.where(np.isfinite(gaps), gaps, 0.0)), 0.0)
    total = raw.sum()
    return raw / total if total > 0 else raw


def bic(fit: FitSummary) -> float:
    """``-2 loglik + d log(n)`` of one fit."""
    return -2.0 * fit.loglik + fit.n_free * np.log(fit.n_units)


def _aicc(fit: FitSummary) -> float:
    room = fit.n_units - fit.n_free - 1
    if room <= 0:
        return np.inf
    correction = 2.0 * fit.n_free * (fit.n_free + 1) / room
    return -2.0 * fit.loglik + 2.0 * fit.n_free + correction
