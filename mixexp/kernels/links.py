"""Link functions: mean as a function of the linear predictor, by name.

A link is invalid where the mean leaves the family's range (``inverse`` at ``eta <= 0``): there
the mean is NaN and the families give the row a log density of ``IMPOSSIBLE``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from scipy import special

IMPOSSIBLE = -1e30  # finite, so that log-sum-exp never meets inf - inf
LARGEST_EXPONENT = 700.0


class Link(NamedTuple):
    """One link: ``mean(eta)``, its derivative, and ``predictor(mean)``.

    ``code`` is the integer by which the numba kernel knows the link.
    """

    code: int
    mean: Callable
    derivative: Callable
    predictor: Callable


def _exp(eta):
    return np.exp(np.minimum(eta, LARGEST_EXPONENT))


def _positive(eta):
    return np.where(eta > 0, eta, np.nan)


def _cloglog_derivative(eta):
    return np.exp(eta - _exp(eta))


LINKS: dict[str, Link] = {
    "identity": Link(0, lambda eta: eta, np.ones_like, lambda mean: mean),
    "log": Link(1, _exp, _exp, np.log),
    "logit": Link(
        2, special.expit, lambda eta: special.expit(eta) * special.expit(-eta), special.logit
    ),
    "probit": Link(
        3,
        special.ndtr,
        lambda eta: np.exp(-0.5 * eta * eta) / np.sqrt(2 * np.pi),
        special.ndtri,
    ),
    "cloglog": Link(
        4,
        lambda eta: -np.expm1(-_exp(eta)),
        _cloglog_derivative,
        lambda mean: np.log(-np.log1p(-mean)),
    ),
    "inverse": Link(
        5,
        lambda eta: 1 / _positive(eta),
        lambda eta: -1 / _positive(eta) ** 2,
        lambda mean: 1 / mean,
    ),
}
