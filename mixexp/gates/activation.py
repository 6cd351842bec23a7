"""Activation gate: a nonlinear function inside the scores, which makes a temperature estimable."""

from __future__ import annotations

from collections.abc import Callable
from numbers import Real

import numpy as np
from scipy import special

from .._component import GATES, register
from ..kernels.designs import linear
from .scores import ScoreDerivatives, ScoreGate, ScoreGateParams
from .transform import check_temperature


class ActivationGateParams(ScoreGateParams):
    """coef (K, q): of the predictors inside g, intercept first.

    extra (K, 1 or 2): the intercept outside g, centred; and log(1 / temperature) where estimated.
    """


OFF_CENTRE = 0.5  # of the neutral predictors
PASSES = 5  # at a temperature: at its own optimum bounded scores may have become thresholds


def _tanh(t):
    value = np.tanh(t)
    slope = 1 - value**2
    return value, slope, -2 * value * slope


def _sigmoid(t):
    value = special.expit(t)
    slope = value * (1 - value)
    return value, slope, slope * (1 - 2 * value)


def _gelu(t):
    share, density = special.ndtr(t), np.exp(-0.5 * t**2) / np.sqrt(2 * np.pi)
    return t * share, share + t * density, density * (2 - t**2)


# g with its first two derivatives
ACTIVATIONS: dict[str, Callable] = {"tanh": _tanh, "sigmoid": _sigmoid, "gelu": _gelu}


@register(GATES, "activation")
class ActivationGate(ScoreGate):
    """pi_k(x) proportional to exp((g(a_k + b_k' x) + c_k) / tau), with a nonlinear activation g.

    The activation dense-to-sparse gate: a large temperature tau spreads a row over all experts, a
    small one gives it to few. Scores that are linear absorb tau (`SoftmaxGate`); inside g they do
    not, and tau is a parameter like others. A bounded g bounds the log odds of two classes at
    c_k - c_l plus the range of g, over tau. The c_k are centred over the classes.

    Parameters
    ----------
    activation : {"tanh", "sigmoid", "gelu"}, default="tanh"
        g. "gelu" is t times the normal distribution function; steep slopes make it homogeneous, and
        tau is then weakly determined.
    temperature : float > 0 or "estimate", default=1.0
        tau: fixed, or by maximum likelihood with the other parameters, and then never below the
        likelihood that the same start reaches at one.
    anneal : sequence of float or None, default=None
        Falling temperatures, all above a fixed ``temperature``: besides the fit from its start at
        the temperature itself, one goes from there through five passes at each of these, and the
        better of the two is kept.
    penalty : L2 or None
        Ridge on the b_k of the standardised columns.
    ridge : float or None, default=None
        As for `SoftmaxGate`.

    Notes
    -----
    In the paper a_k = 0. It is a parameter here, since otherwise the origin of x would matter. tau
    is well determined where the rows show both the slope of g and where it bends; where they do
    not, it may fall towards zero while predictors meet.

    References
    ----------
    Nguyen, Akbarian and Ho (2024), "Is temperature sample efficient for softmax Gaussian mixture of
    experts?", ICML 41, arXiv:2401.13875.
    """

    params_class = ActivationGateParams
    largest_step = 1.0  # beyond the bend of g nothing pulls a predictor back

    def __init__(self, activation="tanh", temperature=1.0, anneal=None, penalty=None, ridge=None):
        self.activation = activation
        self.temperature = temperature
        self.anneal = anneal
        self.penalty = penalty
        self.ridge = ridge

    # --- settings ---------------------------------------------------------------------------

    @property
    def estimates_temperature(self) -> bool:
        return isinstance(self.temperature, str) and self.temperature == "estimate"

    @property
    def n_extra(self):
        return 2 if self.estimates_temperature else 1

    def centred(self, q):
        return [q]

    def tied(self, q):
        return [q + 1] if self.estimates_temperature else []

    def for_rows(self, n_distinct):
        if self.activation not in ACTIVATIONS:
            raise ValueError(
                f"ActivationGate needs activation in {list(ACTIVATIONS)}; got {self.activation!r}."
            )
        if not self.estimates_temperature:
            also = "Or let the likelihood choose it: temperature='estimate'."
            check_temperature(self.temperature, "ActivationGate", also)
        self.stages()
        return super().for_rows(n_distinct)

    def stages(self):
        if self.anneal is None:
            return [(self._with(temperature=1.0), None)] if self.estimates_temperature else []
        values = list(self.anneal) if np.iterable(self.anneal) else [self.anneal]
        number = all(isinstance(t, Real) and 0 < float(t) < np.inf for t in values)
        if self.estimates_temperature or not number:
            raise ValueError(
                "ActivationGate needs positive numbers in anneal= and a fixed temperature in which "
                f"they end; got anneal={self.anneal!r} and temperature={self.temperature!r}. For "
                "example ActivationGate(temperature=0.25, anneal=[2.0, 1.0, 0.5])."
            )
        if not np.all(np.diff([*values, self.temperature]) < 0):
            raise ValueError(
                "ActivationGate: annealing goes from dense to sparse, anneal= falls from value to "
                f"value and ends above temperature={self.temperature!r}; got {self.anneal!r}."
            )
        return [(self._with(temperature=float(t), anneal=None), PASSES) for t in values]

    def initial(self, K, q):
        """Equal predictors off zero: at zero of two classes each would stay the other's mirror."""
        neutral = super().initial(K, q)
        neutral.coef[:, 0] = OFF_CENTRE if K > 1 else 0.0
        return neutral

    # --- scores -----------------------------------------------------------------------------

    def _sharpness(self, params):
        """(K,) 1 / tau."""
        K = len(params.coef)
        if self.estimates_temperature:
            return np.exp(params.extra[:, 1])
        return np.full(K, 1 / self.temperature)

    def scores(self, params, X):
        value = ACTIVATIONS[self.activation](linear(X, params.coef))[0]
        return (value + params.extra[:, 0]) * self._sharpness(params)

    def derivatives(self, params, X):
        value, slope, bend = ACTIVATIONS[self.activation](linear(X, params.coef))
        sharp = self._sharpness(params)
        value, slope, bend = (value + params.extra[:, 0]) * sharp, slope * sharp, bend * sharp
        (n, K), q, E = value.shape, X.shape[1], self.n_extra
        first = np.empty((n, K, q + E))
        first[:, :, :q] = slope[:, :, None] * X[:, None, :]
        first[:, :, q] = sharp
        if self.estimates_temperature:
            first[:, :, q + 1] = value

        def sums(u):
            out = np.zeros((K, q + E, q + E))
            out[:, :q, :q] = np.einsum("nk,na,nb->kab", u * bend, X, X, optimize=True)
            if self.estimates_temperature:
                # log(1 / tau) multiplies: its second derivatives are first ones
                across = np.einsum("nk,nkd->kd", u, first)
                out[:, q + 1, :] = out[:, :, q + 1] = across
            return out

        return ScoreDerivatives(first, sums)

    def separation(self, params, stats):
        """As of the base, of predictors over the temperature: what the log odds are made of."""
        slopes, information = super().separation(params, stats)
        sharp = self._sharpness(params)
        return slopes * sharp[:, None], information / sharp[:, None, None] ** 2

    def split(self, params, k, share):
        coef = np.concatenate([params.coef, params.coef[k : k + 1]])
        extra = np.concatenate([params.extra, params.extra[k : k + 1]])
        sharp = self._sharpness(params)[k]
        extra[k, 0] += np.log1p(-share) / sharp
        extra[-1, 0] += np.log(share) / sharp
        extra[:, 0] -= extra[:, 0].mean()
        return ActivationGateParams(coef, extra)

    # --- what users see -----------------------------------------------------------------------

    def contrasts(self, params, names, reference):
        K, q = params.coef.shape
        D = q + self.n_extra
        if K == 1:
            return [], np.zeros((0, D))
        terms = ["(intercept)", *map(str, names)][:q]
        others = [k for k in range(K) if k != reference]
        labels = [f"gate {k}: {term}" for k in range(K) for term in terms]
        labels += [f"gate {k} vs {reference}: offset" for k in others]
        forms = np.zeros((len(labels), K, D))
        for place in range(K * q):
            forms[place, place // q, place % q] = 1
        for place, k in enumerate(others, K * q):
            forms[place, k, q], forms[place, reference, q] = 1, -1
        if self.estimates_temperature:
            labels.append("gate: log(temperature)")
            last = np.zeros((1, K, D))
            last[0, :, q + 1] = -1 / K
            forms = np.concatenate([forms, last])
        return labels, forms.reshape(len(labels), K * D)

    def display(self, params, names):
        return {
            "gate_coef_": params.coef[:, 1:],
            "gate_intercept_": params.coef[:, 0],
            "gate_offset_": params.extra[:, 0],
            "gate_temperature_": float(1 / self._sharpness(params)[0]),
        }

    def table(self, params, names):
        tau = 1 / self._sharpness(params)[0]
        found = "estimated" if self.estimates_temperature else "fixed"
        title = f"Gate (predictors inside {self.activation}, {found} temperature {tau:.4g})"
        rows = ["(intercept)", *map(str, names), "(offset)"]
        return title, rows, np.column_stack([params.coef, params.extra[:, 0]])
