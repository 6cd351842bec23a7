"""Laws in several row-level parameters: what a family provides, and predictions from it."""

from __future__ import annotations

from abc import abstractmethod
from typing import ClassVar, NamedTuple

import numpy as np

from ..kernels.links import LINKS
from ..kernels.rows import observed_hessian, stacked
from ..penalties import is_sparse
from .base import Expert

ROOM, HALVINGS = 60, 70  # of searches for quantiles


class RowParameter(NamedTuple):
    """A parameter of the density that every row has its own value of.

    Attributes
    ----------
    name : str
    link : str
        A name of `kernels.links.LINKS`.
    low, high : float
        Bounds of the predictor at the mean of the columns, on the standardised target.
    spurious : {None, "low", "high"}
        The bound at which the likelihood of a mixture grows without limit.
    """

    name: str
    link: str
    low: float = -np.inf
    high: float = np.inf
    spurious: str | None = None


class RowLaw(Expert):
    """A density in J parameters that every row has values of; see `DistributionalExpert`."""

    parameters: ClassVar[tuple[RowParameter, ...]] = ()
    support: ClassVar[tuple[float, float]] = (-np.inf, np.inf)  # smallest and largest values

    # --- what a family provides -------------------------------------------------------------

    @abstractmethod
    def log_density_unit(self, eta, y, trials):
        """(n, K) log densities from predictors and targets (n, 1).

        The predictors are J arrays (n, K), or (1, K) where all rows have the same value.
        """

    @abstractmethod
    def score_unit(self, eta, y, trials):
        """(J, n, K) first derivatives by the predictors; `rows.stacked` puts them together."""

    def hessian_unit(self, eta, y, trials):
        """(J, J, n, K) second derivatives by the predictors."""
        return observed_hessian(lambda moved: self.score_unit(moved, y, trials), eta)

    def derivatives_unit(self, eta, y, trials):
        """Log densities, first and second derivatives; overridden where they share much work."""
        return (
            self.log_density_unit(eta, y, trials),
            self.score_unit(eta, y, trials),
            self.hessian_unit(eta, y, trials),
        )

    @abstractmethod
    def initial_parameters(self, y, weight, offset, trials):
        """J values of the parameters themselves for the intercept-only fit to y (n,)."""

    @abstractmethod
    def mean_of(self, theta, trials):
        """Mean of y, element by element, from the parameters themselves."""

    @abstractmethod
    def variance_of(self, theta, trials):
        """Variance of y, element by element."""

    @abstractmethod
    def cdf_of(self, y, theta, trials):
        """P(Y <= y), element by element."""

    def survival_of(self, y, theta, trials):
        """P(Y > y), element by element; families with an accurate upper tail override it."""
        return 1 - self.cdf_of(y, theta, trials)

    @abstractmethod
    def quantile_of(self, probability, theta, trials):
        """Smallest y with P(Y <= y) >= probability, element by element."""

    @abstractmethod
    def draw_of(self, theta, trials, rng):
        """One draw per element."""

    def check_penalty(self):
        """Refuse penalties that these families have no M-step for."""
        if is_sparse(getattr(self, "penalty", None)):
            raise ValueError(
                f"{type(self).__name__} takes the penalty L2 or none; got {self.penalty!r}. Sparse "
                "penalties are for the gaussian, poisson, binomial, gamma and multinomial experts."
            )

    def check_target(self, y, trials=None):
        self.check_penalty()
        self.check_support(y[:, 0], trials)

    def check_support(self, y, trials):
        """Raise a ValueError that says what to do if y (n,) lies outside the family's support."""

    # --- the law ----------------------------------------------------------------------------

    def theta(self, params, X, offset):
        """(n, K, J) the parameters themselves."""
        eta = self.predictors(params, X, offset)
        links = [LINKS[parameter.link] for parameter in self.parameters]
        values = [link.mean(e) for link, e in zip(links, eta, strict=True)]
        return np.moveaxis(stacked(*values), 0, -1)

    def law(self, params, X, offset, trials, scaling):
        theta = self.theta(params, X, offset)
        if self.scales_target:
            theta[..., 0] = theta[..., 0] * scaling.y_scale[0] + scaling.y_centre[0]
            theta[..., self._scale] *= scaling.y_scale[0]
        return self._in_units(self.mean(params, X, offset, trials), scaling), theta

    def _in_units(self, mean, scaling):
        return mean * scaling.y_scale + scaling.y_centre if self.scales_target else mean

    def mean(self, params, X, offset, trials):
        return self._mean(self.theta(params, X, offset), trials)

    def _mean(self, theta, trials):
        with np.errstate(all="ignore"):
            return np.asarray(self.mean_of(_split(theta), as_column(trials)))[..., None]

    def variance(self, mean, trials, dispersion):
        with np.errstate(all="ignore"):
            return self.variance_of(_split(dispersion), trials)

    def density(self, y, mean, trials, dispersion):
        with np.errstate(all="ignore"):
            links = [LINKS[parameter.link] for parameter in self.parameters]
            eta = [l.predictor(t) for l, t in zip(links, _split(dispersion), strict=True)]
            return np.nan_to_num(np.exp(self.log_density_unit(eta, y, trials)))

    def cdf(self, y, mean, trials, dispersion):
        return self.cdf_of(y, _split(dispersion), trials)

    def quantile(self, probability, mean, trials, dispersion):
        return self.quantile_of(probability, _split(dispersion), trials)

    def sample(self, params, X, labels, offset, trials, rng):
        theta = self.theta(params, X, offset)[np.arange(len(labels)), labels]
        m = None if trials is None else np.asarray(trials)
        return np.asarray(self.draw_of(_split(theta), m, rng), dtype=float)[:, None]

    @property
    def _scale(self):
        """Position of the scale among the parameters."""
        return [parameter.name for parameter in self.parameters].index("scale")

    @property
    def link_name(self):
        """Link of the first parameter."""
        return self.parameters[0].link


def as_column(trials):
    """(n, 1) trials, or None."""
    return None if trials is None else trials[:, None]


def _split(theta):
    """The parameters, one array each, from an array with them on the last axis."""
    return tuple(np.moveaxis(theta, -1, 0))


def root_of(cdf, probability, start, positive=False):
    """Quantiles by bisection, between bounds that are moved apart from a first guess.

    On the scale of logarithms for laws of positive numbers.
    """
    probability, start = np.broadcast_arrays(np.asarray(probability, float), start)
    forward, back = (np.log, np.exp) if positive else (lambda v: v, lambda v: v)
    low = high = forward(start)
    width = np.ones(start.shape)
    for _ in range(ROOM):
        below, above = cdf(back(low)) > probability, cdf(back(high)) < probability
        if not (below.any() or above.any()):
            break
        low, high = np.where(below, low - width, low), np.where(above, high + width, high)
        width = 2 * width
    for _ in range(HALVINGS):
        middle = 0.5 * (low + high)
        enough = cdf(back(middle)) >= probability
        low, high = np.where(enough, low, middle), np.where(enough, middle, high)
    return back(0.5 * (low + high))
