"""Conformity scores: how strange a target is under a fitted model, and the targets below a score.

Every score has two functions: of rows and their targets the scores (n,), and of rows and
thresholds (n,) the regions, an array (n, 2) or a list of (m_i, 2) arrays.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

TINY = 1e-12  # what a rounded probability may lack


class Score(NamedTuple):
    """A conformity score: larger is stranger."""

    scores: Callable[..., np.ndarray]
    region: Callable[..., Any]


def _absolute(model, X, y, level, inputs):
    return np.abs(y - model.predict(X, **inputs))


def _absolute_region(model, X, threshold, level, inputs):
    return _around(model.predict(X, **inputs), threshold)


def _normalised(model, X, y, level, inputs):
    return _absolute(model, X, y, level, inputs) / model.predict_std(X, **inputs)


def _normalised_region(model, X, threshold, level, inputs):
    return _around(model.predict(X, **inputs), threshold * model.predict_std(X, **inputs))


def _around(centre, half):
    return np.column_stack([centre - half, centre + half])


def _quantile(model, X, y, level, inputs):
    ends = model.predict_interval(X, level, **inputs)
    return np.maximum(ends[:, 0] - y, y - ends[:, 1])


def _quantile_region(model, X, threshold, level, inputs):
    ends = model.predict_interval(X, level, **inputs) + np.column_stack([-threshold, threshold])
    middle = ends.mean(axis=1)
    crossed = ends[:, 0] > ends[:, 1]  # an empty region; a point covers no less
    return np.where(crossed[:, None], middle[:, None], ends)


def _distribution(model, X, y, level, inputs):
    below, upto = model.cdf_left(X, y, **inputs), model.cdf(X, y, **inputs)
    return np.maximum(0.5 - upto, below - 0.5)


def _distribution_region(model, X, threshold, level, inputs):
    out = np.tile([-np.inf, np.inf], (len(threshold), 1))
    # rows of one calibration have few thresholds, often one
    for value in np.unique(threshold[threshold < 0.5 - TINY]):
        rows = np.flatnonzero(threshold == value)
        some = {name: np.asarray(values)[rows] for name, values in inputs.items()}
        tails = [max(0.5 - value - TINY, TINY), min(0.5 + value + TINY, 1 - TINY)]
        out[rows] = model.predict_quantile(_take(X, rows), sorted(tails), **some)
    return out


def _density(model, X, y, level, inputs):
    return model.hdr_level(X, y, **inputs)


def _density_region(model, X, threshold, level, inputs):
    whole = threshold >= 1 - TINY
    levels = np.clip(threshold + TINY, TINY, 1 - TINY)
    found = model.predict_hdr(X, levels, **inputs)
    everything = np.array([[-np.inf, np.inf]])
    return [everything if all_of_it else own for all_of_it, own in zip(whole, found, strict=True)]


def _take(X, rows):
    return X.iloc[rows] if hasattr(X, "iloc") else X[rows]


SCORES = {
    "absolute": Score(_absolute, _absolute_region),
    "normalised": Score(_normalised, _normalised_region),
    "quantile": Score(_quantile, _quantile_region),
    "distribution": Score(_distribution, _distribution_region),
    "density": Score(_density, _density_region),
}


def inside_support(region, expert, trials):
    """The targets of the region (m, 2) that the family can take: counts are whole numbers."""
    low, high = region[..., 0], region[..., 1]
    if expert.discrete:
        first, last = np.ceil(low - 1e-9), np.floor(high + 1e-9)
        none = first > last  # no whole number inside: the neighbours cover no less
        low, high = np.where(none, np.floor(low), first), np.where(none, np.ceil(high), last)
    if expert.discrete or expert.positive:
        low, high = np.maximum(low, 0.0), np.maximum(high, 0.0)
    if "trials" in expert.takes:
        most = 1.0 if trials is None else np.asarray(trials, dtype=float)
        low, high = np.minimum(low, most), np.minimum(high, most)
    return np.stack([low, high], axis=-1)
