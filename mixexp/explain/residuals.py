"""Quantile residuals of a fitted mixture, their worms, and envelopes that know of the fit."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import special
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning

from mixexp.estimators.intervals import Intervals
from mixexp.explain._priors import refuse_priors
from mixexp.explain.calibration import (
    Envelope,
    Residuals,
    residuals_of_cdf,
)

Floats = NDArray[np.float64]
# Absolute coefficients beyond which van Buuren and Fredriks (2001) speak of a misfit.
ALARMING = np.array([0.10, 0.10, 0.05, 0.03])


def quantile_residuals(
    model: Any, X: Any, y: Any, *, random_state: int | None = 0, **inputs: Any
) -> Residuals:
    """Randomised quantile residuals: standard normal where the model holds.

    r = Phi^-1(F(y | x)); for counts F is drawn uniformly between P(Y < y | x) and P(Y <= y | x)
    (Dunn and Smyth, 1996, Journal of Computational and Graphical Statistics 5, 236-244). The law
    is that of predictions, which knows x alone, also of a fit with ``expert_prior=``. Of targets of
    which an interval is known F is drawn between its values at the ends, and given that the row was
    not truncated.

    Parameters
    ----------
    model : fitted MoERegressor
    X : array-like of shape (n, p)
        The rows of the fit, or new ones.
    y : array-like of shape (n,), or `intervals`
    random_state : int or None
        Seed of the draws for counts and intervals. Look at a few: what they show alike is the
        model's.
    **inputs
        Row-wise inputs ``offset``, ``exposure``, ``trials``.

    Returns
    -------
    Residuals

    Raises
    ------
    ValueError
        If the model has several responses or classes.
    """
    check_one_number(model, "quantile_residuals")
    refuse_priors("quantile_residuals", inputs)
    ends = _of_intervals if isinstance(y, Intervals) else _of_values
    high, low = ends(model, X, y, inputs)
    return residuals_of_cdf(high, low, model.predict(X, **inputs), random_state=random_state)


def _of_values(model, X, y, inputs):
    return model.cdf(X, y, **inputs), model.cdf_left(X, y, **inputs)


def _of_intervals(model, X, y, inputs):
    """P(Y <= y) and P(Y < y) at the ends of intervals, within those of truncation."""
    lower, upper, first, last = y.values.T

    def below(values, method):
        finite = np.isfinite(values)
        found = np.asarray(method(X, np.where(finite, values, 0.0), **inputs), dtype=float)
        return np.where(finite, found, np.where(values > 0, 1.0, 0.0))

    high = below(upper, model.cdf)
    low = np.where(lower == upper, below(upper, model.cdf_left), below(lower, model.cdf))
    start, end = below(first, model.cdf), below(last, model.cdf)
    width = np.maximum(end - start, 1e-300)
    return (high - start) / width, np.clip((low - start) / width, 0.0, 1.0)


def check_one_number(model: Any, what: str) -> None:
    """Raise a ValueError unless the fitted model predicts one number."""
    if hasattr(model, "classes_"):
        raise ValueError(f"{what} is for numbers; for classes see class_calibration.")
    if getattr(model, "_n_outputs", 0):
        raise ValueError(f"{what} needs one response; fit the responses one by one.")


def refitted_envelope(
    model: Any, X: Any, y: Any, *, level: float = 0.95, n_draws: int = 99,
    random_state: int | None = 0, sample_weight: Any = None, **inputs: Any,
) -> Envelope:  # fmt: skip
    """Pointwise envelope of sorted residuals when the model is true and its parameters estimated.

    Every sample is drawn from the fitted model and fitted again, beginning at its parameters
    (Atkinson, 1981, Biometrika 68, 13-20). It is narrower than `normal_envelope`, which takes the
    parameters as known.

    Parameters
    ----------
    model : fitted MoERegressor
    X, y : arrays
        The rows of the fit.
    level : float
    n_draws : int
        Samples, and so fits.
    random_state : int or None
    sample_weight, **inputs
        As in the fit, its ``groups`` among them; the residuals are those of single rows.
    """
    check_one_number(model, "refitted_envelope")
    refuse_priors("refitted_envelope", inputs)
    if model._model_.prior_likelihood is not None:
        raise ValueError(
            "refitted_envelope draws new targets from x alone, and the fit had an expert_prior=, "
            "which does not belong to them. Use normal_envelope, or refit without the prior."
        )
    if inputs.get("groups") is None:
        model._model_.check_ungrouped("refitted_envelope without groups=")
    single = {name: values for name, values in inputs.items() if name != "groups"}
    if not 0 < level < 1 or n_draws < 2 / (1 - level) - 1:
        raise ValueError(
            f"level={level} needs n_draws of at least {np.ceil(2 / (1 - level)) - 1:.0f}; got "
            f"{n_draws}."
        )
    rng = np.random.default_rng(random_state)
    weight = {} if sample_weight is None else {"sample_weight": sample_weight}
    found = []
    for _ in range(n_draws):
        drawn = model.sample(X, rng, **inputs)
        again = clone(model).set_params(start=model)
        with warnings.catch_warnings():
            # one of many samples may stop early; its residuals are still those of its fit
            warnings.simplefilter("ignore", ConvergenceWarning)
            again.fit(X, drawn, **weight, **inputs)
        seed = int(rng.integers(2**31))
        found.append(np.sort(quantile_residuals(again, X, drawn, random_state=seed, **single)
                             .residuals))  # fmt: skip
    lower, upper = np.quantile(found, [(1 - level) / 2, (1 + level) / 2], axis=0)
    return Envelope(lower, upper, level, "refitted")


@dataclass(frozen=True)
class Worm:
    """A detrended normal QQ plot of some of the rows.

    Attributes
    ----------
    label : str
        Which rows: an interval of a column, or "all rows".
    theoretical, deviation : ndarray of shape (n,)
        Normal quantiles, and the sorted residuals less them.
    lower, upper : ndarray of shape (n,)
        Pointwise 95 % band of the deviations under the model.
    coefficients : ndarray of shape (4,)
        Of the cubic through the worm. Constant: the mean is too low (positive) or too high; slope:
        the spread is too small or too large; square: skewness; cube: tails.
    alarming : ndarray of bool of shape (4,)
        Coefficients beyond 0.10, 0.10, 0.05 and 0.03 (van Buuren and Fredriks, 2001).
    outside : float
        Share of the points outside the band.
    """

    label: str
    theoretical: Floats
    deviation: Floats
    lower: Floats
    upper: Floats
    coefficients: Floats
    alarming: NDArray[np.bool_]
    outside: float


def worms(
    residuals: Residuals, by: Any = None, *, bins: int = 4, name: str = "x",
    sample_weight: Any = None,
) -> list[Worm]:  # fmt: skip
    """Worm plots: where along a column the residuals are not normal, and how.

    van Buuren and Fredriks (2001), "Worm plot: a simple diagnostic device for modelling growth
    reference curves", Statistics in Medicine 20, 1259-1277.

    Parameters
    ----------
    residuals : Residuals
        From `quantile_residuals`.
    by : array-like of shape (n,) or None
        Values of a column, or predictions; None is one worm of all rows.
    bins : int
        Intervals of ``by`` with equal numbers of rows.
    name : str
        Name of ``by`` for the labels.
    sample_weight : array-like of shape (n,) or None
        Weights of the rows in quantiles, cubics and shares; rows of weight zero are left out. The
        band is that of as many rows of equal weight as say as much, (sum w)^2 / sum w^2.
    """
    values = residuals.residuals
    weight = np.ones(len(values)) if sample_weight is None else np.asarray(sample_weight, float)
    if weight.shape != values.shape:
        raise ValueError(f"sample_weight has shape {weight.shape} for {len(values)} residuals.")
    if by is None:
        return [_worm(values, "all rows", weight)]
    by = np.asarray(by, dtype=float).ravel()
    if len(by) != len(values):
        raise ValueError(f"by has {len(by)} values for {len(values)} residuals.")
    if bins < 1 or len(by) < 8 * bins:
        raise ValueError(f"{bins} worms need at least {8 * max(bins, 1)} rows; got {len(by)}.")
    groups = np.array_split(np.argsort(by, kind="stable"), bins)
    return [
        _worm(values[g], f"{name} {by[g].min():.4g} to {by[g].max():.4g}", weight[g])
        for g in groups
    ]


def _worm(values: Floats, label: str, weight: Floats) -> Worm:
    order = np.argsort(values, kind="stable")
    order = order[weight[order] > 0]
    if not len(order):
        raise ValueError(f"The rows of the worm {label!r} have no weight.")
    weight = weight[order]
    place = (np.cumsum(weight) - 0.5 * weight) / weight.sum()
    theoretical = special.ndtri(place)
    deviation = values[order] - theoretical
    lower, upper = _band(place, weight.sum() ** 2 / (weight**2).sum()) - theoretical
    degree = min(3, len(order) - 1)
    cubic = np.zeros(4)
    cubic[: degree + 1] = np.polynomial.polynomial.polyfit(
        theoretical, deviation, degree, w=np.sqrt(weight)
    )
    outside = float(np.average((deviation < lower) | (deviation > upper), weights=weight))
    return Worm(
        label, theoretical, deviation, lower, upper, cubic, np.abs(cubic) > ALARMING, outside
    )


def _band(place: Floats, n: float) -> Floats:
    """(2, m) pointwise 95 % band of n sorted normal residuals at places (rank - 0.5) / n."""
    rank = np.clip(n * place + 0.5, 1, n)  # heavy rows at the ends lie inside the first rank
    return special.ndtri(special.betaincinv(rank, n + 1 - rank, [[0.025], [0.975]]))
