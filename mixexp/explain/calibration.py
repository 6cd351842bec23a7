"""Residuals and calibration of a fitted mixture, as results that `mixexp.plotting` draws."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import special, stats

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Residuals:
    """Randomised quantile residuals (Dunn and Smyth 1996): standard normal under the model.

    Attributes
    ----------
    residuals, fitted, uniform, theoretical : ndarray of shape (n,)
        Residuals, predicted means, the probability transform, and the normal quantiles that belong
        to the sorted residuals.
    lower, upper : ndarray of shape (n,)
        Pointwise 95 % band of the sorted residuals under the model (order statistics).
    p_value : float
        Kolmogorov-Smirnov test of uniformity; optimistic, since the model was fitted to the rows.
    """

    residuals: Floats
    fitted: Floats
    uniform: Floats
    theoretical: Floats
    lower: Floats
    upper: Floats
    p_value: float


def residuals_of_cdf(
    cdf: Any, cdf_left: Any, fitted: Any, *, random_state: int | None = 0
) -> Residuals:
    """Residuals from the predictive distribution function at the observed targets.

    Parameters
    ----------
    cdf, cdf_left : array-like of shape (n,)
        ``P(Y <= y)`` and ``P(Y < y)``; where they differ (counts) a seeded uniform draw between
        them is taken.
    fitted : array-like of shape (n,)
        Predicted means.
    random_state : int or None
        Seed of the draw.
    """
    high, low = np.asarray(cdf, float), np.asarray(cdf_left, float)
    draw = np.random.default_rng(random_state).uniform(size=high.shape)
    uniform = np.clip(low + draw * (high - low), 1e-12, 1 - 1e-12)
    n = len(uniform)
    rank = np.arange(1, n + 1)
    band = normal_envelope(n)
    return Residuals(
        residuals=stats.norm.ppf(uniform),
        fitted=np.asarray(fitted, float),
        uniform=uniform,
        theoretical=stats.norm.ppf((rank - 0.5) / n),
        lower=band.lower,
        upper=band.upper,
        p_value=float(stats.kstest(uniform, "uniform").pvalue),
    )


@dataclass(frozen=True)
class Envelope:
    """Where the sorted residuals of n rows lie under the model.

    Attributes
    ----------
    lower, upper : ndarray of shape (n,)
    level : float
    kind : {"pointwise", "simultaneous", "refitted"}
        The probability is that of each residual alone, of all of them together, or of each alone
        with the parameters estimated from every simulated sample.
    """

    lower: Floats
    upper: Floats
    level: float
    kind: str


def normal_envelope(
    n: int, level: float = 0.95, *, simultaneous: bool = False, n_draws: int = 999
) -> Envelope:
    """Envelope of the order statistics of n standard normal residuals.

    Pointwise by their beta laws. Simultaneously by the same laws at the local level at which a
    share ``level`` of seeded samples stays inside everywhere (equal local levels; Aldor-Noiman,
    Brown, Buja, Rolke and Stine, 2013, The American Statistician 67, 249-260).
    """
    rank = np.arange(1, n + 1)
    tail = (1 - level) / 2
    if simultaneous:
        rng = np.random.default_rng(0)
        least = np.empty(n_draws)
        for i in range(n_draws):
            below = special.betainc(rank, n + 1 - rank, np.sort(rng.random(n)))
            least[i] = np.minimum(below, 1 - below).min()
        tail = float(np.quantile(least, 1 - level))
    ends = [special.ndtri(special.betaincinv(rank, n + 1 - rank, q)) for q in (tail, 1 - tail)]
    return Envelope(ends[0], ends[1], level, "simultaneous" if simultaneous else "pointwise")


@dataclass(frozen=True)
class PITHistogram:
    """Histogram of the probability transform: flat under the model.

    ``share`` is the share of rows (of their weights, if given) per bin over the share expected;
    ``lower`` and ``upper`` bound 95 % of it under the model, bin by bin.
    """

    edges: Floats
    share: Floats
    lower: float
    upper: float


def pit_histogram(uniform: Any, bins: int | None = None, sample_weight: Any = None) -> PITHistogram:
    """Histogram of uniform values; about one bin for every ten rows, between 5 and 20.

    With weights the bars are shares of weight, and the band is that of as many rows of equal weight
    as say as much, (sum w)^2 / sum w^2 (Kish, 1965, "Survey Sampling", section 11.7): a row that
    weighs twice is still one draw. So it is in the number of bins.
    """
    uniform = np.asarray(uniform, float)
    weight = np.ones(len(uniform)) if sample_weight is None else np.asarray(sample_weight, float)
    total, n = weight.sum(), _effective_rows(weight)
    bins = bins or int(np.clip(n // 10, 5, 20))
    counts, edges = np.histogram(uniform, bins=bins, range=(0.0, 1.0), weights=weight)
    lower, upper = stats.binom.ppf([0.025, 0.975], n, 1.0 / bins) * bins / n
    return PITHistogram(edges, counts * bins / total, float(lower), float(upper))


def _effective_rows(weight: Floats) -> int:
    """Rows of equal weight whose mean varies as that of rows of these weights."""
    return max(1, round(float(weight.sum() ** 2 / (weight**2).sum())))


@dataclass(frozen=True)
class ClassCalibration:
    """Predicted class probabilities against observed frequencies.

    Attributes
    ----------
    classes : tuple of str
    predicted, observed, error : tuple of ndarray
        For every class: mean prediction, observed frequency and its standard error in each bin.
    counts : tuple of ndarray
        Rows in each bin; with weights their sums.
    confusion : ndarray of shape (C, C)
        Rows by true (row) and predicted (column) class; with weights their sums.
    log_loss, accuracy : float
    """

    classes: tuple[str, ...]
    predicted: tuple[Floats, ...]
    observed: tuple[Floats, ...]
    error: tuple[Floats, ...]
    counts: tuple[Floats, ...]
    confusion: NDArray[Any]
    log_loss: float
    accuracy: float


def class_calibration(
    proba: Any, y: Any, classes: Sequence[Any], bins: int = 8, sample_weight: Any = None
) -> ClassCalibration:
    """Calibration of class probabilities in bins of equal numbers of rows.

    With weights in bins of equal weight (a row on an edge belongs to both in parts), and every mean
    and share is a weighted one: a weight of 2 is the row twice. Standard errors take a row for one
    draw whatever it weighs.
    """
    proba, names = np.asarray(proba, float), [str(c) for c in classes]
    codes = np.array([names.index(str(value)) for value in y])
    weight = None if sample_weight is None else np.asarray(sample_weight, float)
    parts = [_bins(proba[:, c], codes == c, bins, weight) for c in range(len(names))]
    confusion = np.zeros((len(names), len(names)), dtype=int if weight is None else float)
    np.add.at(confusion, (codes, proba.argmax(axis=1)), 1 if weight is None else weight)
    own = np.clip(proba[np.arange(len(codes)), codes], 1e-300, None)
    predicted, observed, error, counts = zip(*parts, strict=True)
    return ClassCalibration(
        classes=tuple(names),
        predicted=predicted,
        observed=observed,
        error=error,
        counts=counts,
        confusion=confusion,
        log_loss=float(-np.average(np.log(own), weights=weight)),
        accuracy=float(np.trace(confusion) / confusion.sum()),
    )


def _bins(
    probability: Floats, hit: NDArray[np.bool_], bins: int, weight: Floats | None
) -> tuple[Floats, Floats, Floats, Floats]:
    if weight is not None:
        return _weighted_bins(probability, hit, bins, weight)
    groups = np.array_split(np.argsort(probability, kind="stable"), min(bins, len(probability)))
    predicted = np.array([probability[g].mean() for g in groups])
    observed = np.array([hit[g].mean() for g in groups])
    counts = np.array([len(g) for g in groups], dtype=float)
    error = np.sqrt(np.maximum(predicted * (1 - predicted), 1e-12) / counts)
    return predicted, observed, error, counts


def _weighted_bins(
    probability: Floats, hit: NDArray[np.bool_], bins: int, weight: Floats
) -> tuple[Floats, Floats, Floats, Floats]:
    order = np.argsort(probability, kind="stable")
    order = order[weight[order] > 0]
    end = np.cumsum(weight[order])
    edges = np.linspace(0.0, end[-1], min(bins, len(order)) + 1)
    inside = np.minimum(edges[1:, None], end) - np.maximum(edges[:-1, None], end - weight[order])
    inside = np.maximum(inside, 0.0)  # (bins, n): weight of each row in each bin
    counts = inside.sum(axis=1)
    share = inside / counts[:, None]
    predicted, observed = share @ probability[order], share @ hit[order].astype(float)
    variance = np.maximum(predicted * (1 - predicted), 1e-12) * (share**2).sum(axis=1)
    return predicted, observed, np.sqrt(variance), counts
