"""`SlopeHeuristic`: a criterion that learns the size of its penalty from the collection."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from mixexp._component import CRITERIA, register
from mixexp.em.summary import FitSummary, check_comparable
from mixexp.selection.criteria.information import Criterion, Floats
from mixexp.selection.slope.plateaus import distinct, estimate_slope, jump, slope_table
from mixexp.selection.slope.result import DimensionJump, SlopeEstimation

LEAST_MODELS = 10


@register(CRITERIA, "slope")
class SlopeHeuristic(Criterion):
    """Slope heuristics: contrast + ``factor`` x kappa x penalty, with kappa from the data.

    Where models are large, their approximation error no longer falls and the contrast (minus the
    log-likelihood per unit) sinks in proportion to the penalty shape. That slope is the minimal
    penalty constant kappa, and twice the minimal penalty is close to the best one (Birge and
    Massart 2007). Two ways to find kappa:

    - "ddse", data-driven slope estimation: regress minus the contrast on the penalty over the
      models from the i-th on, for every i; each slope selects a model; the last long plateau of
      equal selections decides.
    - "djump", the dimension jump: follow the model that minimises contrast + kappa x penalty as
      kappa grows from zero; kappa is where its complexity falls most.

    Both need at least ten models that reach well beyond the right size, all well optimised.

    Parameters
    ----------
    method : {"ddse", "djump"}, default="ddse"
    factor : float, default=2.0
        Multiplies the minimal penalty.
    shape : callable or None
        Penalty shape as an increasing function of the complexities (the numbers of free
        parameters); None takes the complexity itself. Used by `scores` and `result`.
    regression : {"bisquare", "huber", "ols"}, default="bisquare"
        ddse: how the lines are fitted. The robust ones are M-estimates, iterated to convergence.
    share : float, default=0.15
        ddse: a plateau decides from this share of the regressions on ...
    least_length : int, default=0
        ... or, where positive, from this number of regressions on.
    least_points : int, default=4
        ddse: points of the shortest regression. Lines through two or three points follow every
        irregularity, and a robust one needs more to be robust.
    area : float, default=0.0
        djump: where positive, the jump area is found too, the window from kappa (1 - a) / (1 + a)
        to kappa over which the complexity falls most. Arlot advises about sqrt(log(n) / n).
    threshold : float, default=0.0
        djump: where positive, kappa is instead the first constant that selects a complexity
        below this.
    compat : {None, "capushe"}, default=None
        "capushe" repeats the R package capushe 1.1.3, its defects included: twenty reweighting
        iterations at most, lines through two points (``least_points`` is not used), the interval
        of a last plateau without its last slope, the jump area without the jump that ends it, at
        least 11 models for the jump, and ties that rounding decides.

    References
    ----------
    Birge and Massart (2007), "Minimal penalties for Gaussian model selection", Probability Theory
    and Related Fields 138, 33-73; Baudry, Maugis and Michel (2012), "Slope heuristics: overview
    and implementation", Statistics and Computing 22, 455-470; Arlot (2019), "Minimal penalties
    and the slope heuristics: a survey", Journal de la Societe Francaise de Statistique 160, 1-106.
    """

    label = "Slope heuristic"
    meaning = (
        "The slope heuristic learns its penalty from the fits themselves: twice the slope of the "
        "log-likelihood over the largest models. It needs at least ten fits."
    )
    scope = "collection"
    least_fits = LEAST_MODELS

    def __init__(
        self,
        method: str = "ddse",
        *,
        factor: float = 2.0,
        shape: Callable[[Floats], ArrayLike] | None = None,
        regression: str = "bisquare",
        share: float = 0.15,
        least_length: int = 0,
        least_points: int = 4,
        area: float = 0.0,
        threshold: float = 0.0,
        compat: str | None = None,
    ) -> None:
        self.method = method
        self.factor = factor
        self.shape = shape
        self.regression = regression
        self.share = share
        self.least_length = least_length
        self.least_points = least_points
        self.area = area
        self.threshold = threshold
        self.compat = compat

    def scores(self, fits: Sequence[FitSummary]) -> Floats:
        """Score every fit by the learnt penalty, ``-2 loglik + 2 n kappa_opt penalty``.

        The smallest is the model that `result` chooses.
        """
        complexity, contrast, penalty = self._summarised(fits)
        kappa = self.of(complexity, contrast, penalty).kappa_opt
        return 2.0 * fits[0].n_units * (contrast + kappa * penalty)

    def result(self, fits: Sequence[Any]) -> SlopeEstimation | DimensionJump:
        """What the heuristic finds in a collection of fits.

        Parameters
        ----------
        fits : sequence of fitted estimators or FitSummary
            The contrast is minus the log-likelihood per unit, the complexity the number of
            free parameters, and the penalty shape is divided by the number of units: kappa
            is then in units of AIC's penalty, whose constant is one.

        Returns
        -------
        SlopeEstimation or DimensionJump
            ``chosen`` is the position of the selected fit.
        """
        summaries = [fit if isinstance(fit, FitSummary) else fit.fit_summary_ for fit in fits]
        return self.of(*self._summarised(summaries))

    def of(
        self, complexity: ArrayLike, contrast: ArrayLike, penalty: ArrayLike | None = None
    ) -> SlopeEstimation | DimensionJump:
        """What the heuristic finds in any collection of models.

        Parameters
        ----------
        complexity : array-like of shape (models,)
            Complexity of each model, such as its number of parameters.
        contrast : array-like of shape (models,)
            Minimum contrast of each model, such as minus its log-likelihood per row.
        penalty : array-like of shape (models,), optional
            Penalty shape; it must not fall as the complexity rises. By default the complexity.

        Returns
        -------
        SlopeEstimation or DimensionJump
            Frozen results; ``chosen`` is the position of the selected model.

        Raises
        ------
        ValueError
            If there are fewer than ten models (ddse: with different penalties), if no plateau is
            long enough, or if no complexity jumps.
        """
        self._check_settings()
        values = [np.asarray(part, dtype=float).ravel() for part in (complexity, contrast)]
        values.append(values[0] if penalty is None else np.asarray(penalty, dtype=float).ravel())
        if len({len(part) for part in values}) != 1:
            raise ValueError(
                "complexity, contrast and penalty must have one length; got "
                f"{[len(part) for part in values]}."
            )
        table, capushe = slope_table(*values), self.compat == "capushe"
        if self.method == "djump":
            _check_number(len(table.order), LEAST_MODELS + capushe, "models")
            return jump(
                table,
                factor=self.factor,
                width=self.area,
                threshold=self.threshold,
                capushe=capushe,
            )
        if capushe:
            _check_number(len(table.order), LEAST_MODELS, "models")
        table = distinct(table)
        if not capushe:
            _check_number(len(table.order), LEAST_MODELS, "models with different penalties")
        return estimate_slope(
            table,
            regression=self.regression,
            share=self.share,
            least_length=self.least_length,
            factor=self.factor,
            least_points=2 if capushe else self.least_points,
            capushe=capushe,
        )

    def _summarised(self, fits: Sequence[FitSummary]) -> tuple[Floats, Floats, Floats]:
        check_comparable(fits)
        units = np.array([fit.n_units for fit in fits])
        if len(fits) and np.ptp(units) > 1e-9 * units[0]:
            raise ValueError(
                "slope heuristics compare fits to the same data; got fits to "
                f"{units.min():g} and to {units.max():g} units."
            )
        complexity = np.array([fit.n_free for fit in fits], dtype=float)
        contrast = -np.array([fit.loglik for fit in fits], dtype=float) / units
        shape = complexity if self.shape is None else np.asarray(self.shape(complexity), float)
        return complexity, contrast, shape / units

    def _check_settings(self) -> None:
        choices = {
            "method": ("ddse", "djump"),
            "regression": ("bisquare", "huber", "ols"),
            "compat": (None, "capushe"),
        }
        for name, known in choices.items():
            if getattr(self, name) not in known:
                raise ValueError(f"{name} must be one of {known}; got {getattr(self, name)!r}.")
        ranges = {
            "factor": (1.0, np.inf),
            "share": (0.0, 1.0),
            "least_length": (0, np.inf),
            "least_points": (2, LEAST_MODELS - 1),
            "area": (0.0, 1.0),
            "threshold": (0.0, np.inf),
        }
        for name, (low, high) in ranges.items():
            if not low <= getattr(self, name) <= high:
                raise ValueError(
                    f"{name} must lie between {low:g} and {high:g}; got {getattr(self, name)!r}."
                )


def _check_number(got: int, needed: int, what: str) -> None:
    if got < needed:
        raise ValueError(
            f"slope heuristics need at least {needed} {what}; got {got}. Fit a longer ladder of "
            "models, or choose by BIC."
        )
