"""What a generalised linear family provides: unit, variance, distribution function, dispersion."""

from __future__ import annotations

from abc import abstractmethod
from typing import ClassVar

import numpy as np

from .base import Expert


class GLMFamily(Expert):
    """What a generalised linear family says of itself; see `GLMExpert`."""

    links: ClassVar[tuple[str, ...]] = ()
    kernel_code: ClassVar[int | None] = None
    has_dispersion = False
    dispersion_name: ClassVar[str] = "dispersion"
    ties_dispersion = False  # True where all experts share the dispersion
    positive = False  # True where the mean is positive
    multi_output = True
    extra_per_gain: ClassVar[float] = 0.0  # d extra / d (dispersion-free log-likelihood)

    @property
    def needs_positive_mean(self):
        """True where an identity link may leave the range of the family's means."""
        return self.positive and self.link_name == "identity"

    @property
    def link_name(self):
        link = self.links[0] if getattr(self, "link", None) is None else self.link
        if link not in self.links:
            raise ValueError(
                f"{type(self).__name__} has the links {list(self.links)}; got link={link!r}."
            )
        return link

    @abstractmethod
    def unit(self, eta, y, trials, dispersion):
        """`kernels.reference.Unit` of arrays (n, K), less the row's own part."""

    def row_part(self, y, trials):
        """(n,) part of the log density that depends on the row alone."""
        return np.zeros(len(y))

    @abstractmethod
    def variance(self, mean, trials, dispersion):
        """Variance of y given its mean (of the count, not of the proportion)."""

    @abstractmethod
    def cdf(self, y, mean, trials, dispersion):
        """P(Y <= y), element by element."""

    @abstractmethod
    def quantile(self, probability, mean, trials, dispersion):
        """Smallest y with P(Y <= y) >= probability, element by element."""

    @abstractmethod
    def draw(self, mean, trials, dispersion, rng):
        """One draw per element."""

    def initial_mean(self, y, weight, offset, trials):
        """(m,) mean per unit of exposure or trial, inside the range of every link."""
        total = np.maximum(trials, 1e-300) if trials is not None else np.ones(len(y))
        if offset is not None and self.link_name == "log":
            total = total * np.exp(offset)
        return (weight @ y) / (weight @ total)

    def initial_dispersion(self, y, weight):
        return np.ones(y.shape[1])

    def dispersion_step(self, params, stats, step):
        """Maximiser of the dispersion given the new coefficients (batched)."""
        return params.dispersion

    def dispersion_factor(self, dispersion):
        """phi in score = sum w r (...) / phi, broadcastable to (..., K, m)."""
        return np.ones_like(dispersion)

    def kernel_constant(self, dispersion):
        """Part of the log density that depends on the dispersion alone, for the fused kernel."""
        return np.zeros_like(dispersion)

    def dispersion_gradient(self, params, stats):
        """Gradient of the surrogate with respect to log dispersion (batched)."""
        return np.zeros_like(stats.extra)

    def dispersion_derivatives(self, extra, score, dispersion):
        """First and second derivative by log dispersion, and the mixed one with the predictor.

        Element by element, of a row with this ``extra`` and this derivative by the predictor.
        """
        raise NotImplementedError(f"{type(self).__name__} has no dispersion.")
