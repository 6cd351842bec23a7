"""Convex penalties of single slopes: ridge, Lasso, elastic net, adaptive Lasso."""

from __future__ import annotations

import numpy as np
from sklearn.base import clone

from .._component import PENALTIES, register
from .base import Majoriser, SeparablePenalty, above, nonnegative, soft


@register(PENALTIES, "l2")
class L2(SeparablePenalty):
    """Ridge penalty ``alpha / 2 * sum of weighted squared slopes``, per unit weight.

    The penalised objective is the mean log-likelihood per unit weight less the penalty, so a
    strength means the same at any number of rows. Slopes are those of the standardised columns;
    intercepts are free. On a gate the slopes are centred over the classes, so that the labels
    of the classes do not matter.

    Parameters
    ----------
    alpha : float, default=1e-3
        Strength, at least 0.
    weights : None, (p,) array or dict, default=None
        Factors on the strength, one a column of the part; a dict names columns, the others
        have 1. A weight of 0 leaves a column unpenalised.
    """

    sparse = False

    def __init__(self, alpha=1e-3, weights=None):
        self.alpha = alpha
        self.weights = weights

    def slope_value(self, size):
        return 0.5 * self.strength() * size**2

    def majoriser(self, slopes):
        return Majoriser(np.zeros(slopes.shape), self.strength() * self.slope_weights(slopes))

    def prox(self, slopes, step):
        return slopes / (1 + step * self.strength() * self.slope_weights(slopes))

    def l1_share(self):
        return 0.0


@register(PENALTIES, "elastic_net")
class ElasticNet(SeparablePenalty):
    """``alpha * sum of weights * (l1_ratio |b| + (1 - l1_ratio) / 2 b^2)``, per unit weight.

    Zou and Hastie (2005), J. R. Stat. Soc. B 67, 301-320. Strengths as in `L1`.

    Parameters
    ----------
    alpha : float, default=0.1
    l1_ratio : float in [0, 1], default=0.5
    weights : None, (p,) or (J, p) array, or dict
        As for `L1`.
    """

    def __init__(self, alpha=0.1, l1_ratio=0.5, weights=None):
        self.alpha = alpha
        self.l1_ratio = l1_ratio
        self.weights = weights

    @property
    def sparse(self):  # type: ignore[override]
        return self._ratio() > 0

    def _ratio(self):
        ratio = nonnegative(self, "l1_ratio")
        if ratio > 1:
            raise ValueError(f"ElasticNet needs l1_ratio in [0, 1]; got {self.l1_ratio!r}.")
        return ratio

    def slope_value(self, size):
        ratio = self._ratio()
        return self.strength() * (ratio * size + 0.5 * (1 - ratio) * size**2)

    def majoriser(self, slopes):
        strength = self.strength() * self.slope_weights(slopes)
        return Majoriser(self._ratio() * strength, (1 - self._ratio()) * strength)

    def prox(self, slopes, step):
        l1, l2 = self.majoriser(slopes)
        return soft(slopes, step * l1) / (1 + step * l2)

    def l1_share(self):
        return self._ratio()


@register(PENALTIES, "l1")
class L1(SeparablePenalty):
    """Lasso penalty ``alpha * sum of weighted absolute slopes``, per unit weight.

    Tibshirani (1996), J. R. Stat. Soc. B 58, 267-288; for mixtures of experts Khalili (2010),
    Can. J. Stat. 38, and Huynh and Chamroukhi (2019), arXiv:1907.06994, whose lambda is n times
    this alpha. With one Gaussian expert, scikit-learn's ``Lasso(alpha=a)`` on standardised
    columns is this penalty with alpha = a / (sigma^2) in the units of the standardised target,
    where sigma^2 is the fitted variance.

    On a gate (and inside a multinomial expert) the slopes of a column sum to zero over the
    classes: no class is a reference, labels do not matter, and a column is out of the gate when
    all its slopes are zero. With two classes they are (b, -b) and cost ``2 alpha |b|``, which is
    ``alpha`` times the absolute log odds ratio.

    Parameters
    ----------
    alpha : float, default=0.1
        Strength, at least 0.
    weights : None, (p,) or (J, p) array, or dict, default=None
        Factors on the strength, one a column of the part; a dict names columns, the others
        have 1. A weight of 0 leaves a column unpenalised, inf keeps it out. A line for each of
        the J members (experts of a regression; classes of a gate or a multinomial expert) weighs
        single slopes; experts then have names, so give a ``start`` that says which is which.
    """

    def __init__(self, alpha=0.1, weights=None):
        self.alpha = alpha
        self.weights = weights

    def slope_value(self, size):
        return self.strength() * size

    def majoriser(self, slopes):
        strength = self.strength() * self.slope_weights(slopes)
        return Majoriser(strength, np.zeros(slopes.shape))

    def prox(self, slopes, step):
        return soft(slopes, step * self.majoriser(slopes).l1)


@register(PENALTIES, "adaptive_l1")
class AdaptiveL1(L1):
    """Lasso with weights ``1 / |initial slope|^power`` (Zou, 2006, JASA 101, 1418-1429).

    The weight of a column is that of its largest initial slope over the experts or classes, so
    that labels do not matter.

    Parameters
    ----------
    alpha : float, default=0.1
    initial : None, (p,) or (J, p) array
        Initial estimates of the slopes on standardised columns, for example ``coef_`` times
        the columns' standard deviations. None: all ones, which is `L1`.
    power : float, default=1.0
    floor : float, default=1e-6
        Initial slopes count as at least this; above 0.
    weights : None, (p,) or (J, p) array, or dict
        Further factors, as for `L1`.
    """

    def __init__(self, alpha=0.1, initial=None, power=1.0, floor=1e-6, weights=None):
        super().__init__(alpha, weights)
        self.initial = initial
        self.power = power
        self.floor = floor

    def column_weights(self, p):
        plain = super().column_weights(p)
        if self.initial is None:
            return plain
        initial = np.abs(np.atleast_2d(np.asarray(self.initial, dtype=float)))
        if initial.shape[-1] != p or not np.isfinite(initial).all():
            raise ValueError(
                f"AdaptiveL1 needs finite initial slopes of {p} columns; got shape {initial.shape}."
            )
        largest = initial.reshape(-1, p).max(axis=0)
        return plain * np.maximum(largest, above(self, "floor", 0)) ** -nonnegative(self, "power")

    def take(self, positions):
        taken = super().take(positions)
        if self.initial is None:
            return taken
        initial = np.atleast_2d(np.asarray(self.initial, dtype=float))[..., positions]
        return clone(taken).set_params(initial=initial)
