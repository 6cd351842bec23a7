"""What an expert family is."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any, ClassVar, NamedTuple

from .._part import Part
from .laws import density_of, excess_of


class Contained(NamedTuple):
    """A family that another one contains, with the same penalty and bounds.

    ``places.grow`` turns its parameters into the other's, of the same density; ``places.shrink``
    the other's into its own, of a density that is near.
    """

    expert: Expert
    places: Any


class Expert(Part):
    """A family of conditional densities f(y | x), one member per expert.

    ``X`` is a design (n, q) with a leading column of ones, ``y`` (n, m); see `Part` for
    parameters and batches.
    """

    classifies = False  # True where y holds class codes
    ordered = False  # True where the order of the classes matters
    runs_away: str | None = None  # why an expert may have parameters that are `undetermined`
    scales_target = False  # True where the fit may standardise y
    multi_output = False  # True where y may have several columns
    discrete = False  # True for counts: P(Y < y) differs from P(Y <= y)
    scales_target_together = False  # True where all responses have one common scale
    positive = False  # True where the mean is positive
    has_dispersion = False  # True where the parameters hold a dispersion
    degree = 1  # of the polynomials in the experts' columns that an estimator makes
    linked_mean = True  # False where the mean is not the inverse link of one predictor
    newton_m_step = False  # True where an M-step is one Newton step, far from exact
    keeps_rows = False  # True where the statistics hold the rows, as no sums determine an M-step
    batches = False  # True where a pass takes the experts of all starts at once
    takes_sparse_penalties = True
    takes_intervals = False  # True where y has the columns of `intervals`
    column_settings: ClassVar[tuple[str, ...]] = ("tied",)  # settings that list expert columns
    takes: ClassVar[tuple[str, ...]] = ()  # row-wise inputs among "offset", "exposure", "trials"

    @abstractmethod
    def check_target(self, y, trials=None):
        """Raise a ValueError that says what to do if y lies outside the family's support.

        It is asked of parts of the target as well: what must hold of the whole is for `for_target`.
        """

    def check_number(self, K: int) -> None:
        """Raise ValueError where the family cannot be that of K experts."""

    def for_target(self, target, n_distinct):
        """The family as it is fitted to this target: itself, unless a setting depends on it.

        Parameters
        ----------
        target : Target or TargetSummary
            What is known of the whole target.
        n_distinct : int
            The number of distinct rows, or a lower bound where there are many.

        Raises
        ------
        ValueError
            Where the target as a whole does not suit the family.
        """
        return self

    def for_classes(self, n_classes):
        """The family as it is fitted to so many classes."""
        return self

    @abstractmethod
    def initial(self, K, q, y, weight, offset, trials):
        """Neutral parameters: every expert is the intercept-only fit.

        A classification family also takes ``n_classes=0``: at least so many classes there are.
        """

    @abstractmethod
    def log_density(self, params, X, y, offset, trials):
        """(n, K) log densities, all constants included."""

    def points(self, y):
        """(n, m) one value for every row and response, for scales and starts: y itself."""
        return y

    def has_density(self, y):
        """True, or (n,) bool: the row's term is a density of y, which depends on y's units."""
        return True

    def without_truncation(self, y):
        """The target of rows that would be in the data whatever their y."""
        return y

    def truncates(self, y) -> bool:
        """Whether any of the rows is there only because its target lies in an interval."""
        return False

    def log_admitted(self, params, X, y, offset, trials):
        """(n, K) log probabilities with which an expert's rows are in the data; None for one."""
        return None

    @abstractmethod
    def statistics(self, params, X, y, resp, weight, offset, trials):
        """Additive statistics of a block; ``resp`` (n, K) is weighted already."""

    def rows_needed(self, one) -> int:
        """Rows without which one expert (parameters with K = 1) is not determined."""
        return self.n_free(one)

    def alternatives(self, params) -> list:
        """Parameters to try besides those of a finished run: where a stationary point may be none.

        Such as a slant of zero, at which every score vanishes and the likelihood may rise to
        either side.
        """
        return []

    def contained(self) -> list[Contained]:
        """Families whose optima are fitted too, so that this one never ends below them."""
        return []

    def display(self, params) -> dict:
        """Further fitted attributes of estimators, from parameters on the user's scale."""
        return {}

    def smoothed(self, params, mass):
        """The family with second derivatives of the expected likelihood; None where it has none.

        For families that are not `smooth`, whose likelihood has kinks and its expectation has not.
        ``mass`` (K,) are the experts' effective rows.
        """
        return None

    def undetermined(self, params, y, resp, names) -> list[str]:
        """Reported parameters that run to infinity, or to a bound, at a fit that has converged.

        Parameters
        ----------
        y, resp : (n, 1), (n, K)
            Targets and weighted responsibilities.
        names : sequence of str
            Of the experts' columns, as for `contrasts`, whose labels are returned.
        """
        return []

    @abstractmethod
    def shift(self, stats, params, step):
        """The statistics' local quadratic model re-expressed at ``params + step``."""

    @abstractmethod
    def bounded(self, params):
        """(K,) bool (batched): the expert's dispersion leans on its lower bound."""

    def row_scores(self, params, X, y, resp, offset, trials):
        """(n, J) derivatives of the surrogate by the J linear predictors, row by row.

        In the order of the leading axes of ``params.coef``. Working sets need them.
        """
        raise NotImplementedError(f"{type(self).__name__} has no linear predictors.")

    def penalised_slopes(self, params):
        """(..., J, p) slopes as a penalty sees them: its members on the last axis but one."""
        return params.coef[..., 1:]

    def penalty_gradient(self, params, gradient):
        """A gradient by the slopes of ``params.coef``, by those of `penalised_slopes` instead."""
        return gradient

    def main_coef(self, params):
        """(K, m, q) the coefficients of the means' predictors, which estimators show first."""
        return params.coef

    def law(self, params, X, offset, trials, scaling):
        """What `cdf`, `quantile` and `variance` take, in the user's units of y.

        Returns
        -------
        mean : (n, K, m)
        dispersion : (K, m), or (n, K, J) for a family with J row-level parameters
        """
        mean = self.mean(params, X, offset, trials)
        dispersion = getattr(params, "dispersion", None)
        if self.scales_target:
            mean = mean * scaling.y_scale + scaling.y_centre
            dispersion = dispersion * scaling.y_scale
        return mean, dispersion

    @abstractmethod
    def mean(self, params, X, offset, trials):
        """(n, K, m) means; class probabilities (n, K, C) for a classification family."""

    @abstractmethod
    def sample(self, params, X, labels, offset, trials, rng):
        """(n, m) draws, row i from expert labels[i]."""

    def density(self, y, mean, trials, dispersion):
        """Density, or probability, of one response, element by element as `cdf`.

        Families with a closed form override this: here it is the derivative of `cdf`, or its steps.
        """
        law = mean, trials, dispersion
        return density_of(
            lambda value: self.cdf(value, *law),
            lambda p: self.quantile(p, *law),
            y,
            self.discrete,
        )

    def excess(self, threshold, mean, trials, dispersion):
        """E[(Y - threshold)+] of one response, element by element as `cdf`.

        Families with a closed form override this: here it is an integral of quantiles, or a sum.
        """
        law = mean, trials, dispersion
        return excess_of(
            lambda value: self.cdf(value, *law),
            lambda p: self.quantile(p, *law),
            threshold,
            self.discrete,
        )
