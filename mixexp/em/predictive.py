"""The predictive law of y given x: a mixture of the experts' laws, in the user's units."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from ..kernels.reference import log_softmax
from .model import MoEModel
from .rows import Rows

BISECTIONS = 60
LARGEST = 1e300


class Components(NamedTuple):
    """The mixture at n rows.

    prob (n, K): gate probabilities; mean (n, K, m); dispersion (K, m), (n, K, J) for a family with
    J row-level parameters, or None, in the user's units of y; trials (n, 1) or None.
    """

    prob: np.ndarray
    mean: np.ndarray
    dispersion: Any
    trials: np.ndarray | None

    def law(self, j):
        """Mean (n, K), trials and dispersion of response j, as the experts' methods take them."""
        own = self.dispersion if self.dispersion.ndim == 3 else self.dispersion[:, j]
        return self.mean[:, :, j], self.trials, own

    def response(self, j):
        """The mixture of response j alone."""
        own = self.dispersion if self.dispersion.ndim == 3 else self.dispersion[:, [j]]
        return Components(self.prob, self.mean[:, :, [j]], own, self.trials)

    def take(self, index):
        """The mixture at rows of an index array or a slice."""
        own = self.dispersion[index] if self.dispersion.ndim == 3 else self.dispersion
        trials = None if self.trials is None else self.trials[index]
        return Components(self.prob[index], self.mean[index], own, trials)


def components(model: MoEModel, params, rows: Rows) -> Components:
    """Gate probabilities, means and dispersions at the rows (their y is not read).

    An expert whose link has no mean at a row (an inverse link at a non-positive predictor) has
    no density there: its share of the gate goes to the other experts. Where no expert has one,
    the probabilities are NaN, and with them all that is predicted.
    """
    log_prob = model.log_gate(params, rows.X)
    design, offset = model.expert_design(rows.X), model.scaled_offset(rows)
    mean, dispersion = model.expert.law(params.expert, design, offset, rows.trials, model.scaling)
    possible = np.isfinite(mean).all(axis=2)
    if not possible.all():
        anyone = possible.any(axis=1, keepdims=True)
        log_prob = np.where(possible, log_prob, -np.inf)
        log_prob = log_softmax(np.where(anyone, log_prob, np.nan))
        mean = np.where(possible[:, :, None], mean, 1.0)
    trials = None if rows.trials is None else rows.trials[:, None]
    return Components(np.exp(log_prob), mean, dispersion, trials)


def mean(parts: Components):
    """(n, m) predictive means."""
    return np.einsum("nk,nkm->nm", parts.prob, parts.mean)


def variance(parts: Components, expert):
    """(n, m) predictive variances: within experts plus between them."""
    out = np.empty((parts.mean.shape[0], parts.mean.shape[2]))
    centre = mean(parts)
    for j in range(out.shape[1]):
        within = expert.variance(*parts.law(j))
        # An expert without a say may have a mean beyond any square.
        with np.errstate(over="ignore"):
            spread = np.minimum((parts.mean[:, :, j] - centre[:, [j]]) ** 2, LARGEST)
            out[:, j] = (parts.prob * np.minimum(within + spread, LARGEST)).sum(axis=1)
    return out


def cdf(parts: Components, expert, y):
    """(n, m) P(Y <= y) of each response."""
    out = np.empty(y.shape)
    for j in range(y.shape[1]):
        each = expert.cdf(y[:, [j]], *parts.law(j))
        # a rounded sum of shares may exceed one
        out[:, j] = np.minimum((parts.prob * each).sum(axis=1), 1.0)
    return out


def density(parts: Components, expert, y):
    """(n, m) density, or probability, of each response on its own."""
    out = np.empty(y.shape)
    for j in range(y.shape[1]):
        out[:, j] = (parts.prob * expert.density(y[:, [j]], *parts.law(j))).sum(axis=1)
    return out


def on_grid(function, parts: Components, expert, grid):
    """(n, G) values of ``function`` (`cdf` or `density`) at a grid (n, G) of one response."""
    n, size = grid.shape
    many = parts.take(np.repeat(np.arange(n), size))
    return function(many, expert, grid.reshape(-1, 1)).reshape(n, size)


def quantile(parts: Components, expert, probability):
    """(n, m) quantiles of each response, by bisection between the experts' own quantiles."""
    n, _, m = parts.mean.shape
    out = np.empty((n, m))
    for j in range(m):
        one = parts.response(j)
        each = expert.quantile(probability, *one.law(0))
        # experts without a say must not widen the bracket to infinity
        heard = parts.prob > 1e-12
        low, high = np.where(heard, each, np.inf).min(axis=1), np.where(heard, each, -np.inf)
        low, high = np.where(heard.any(axis=1), (low, high.max(axis=1)), np.nan)
        out[:, j] = _bisect(one, expert, probability, low, high)
    return out


def _bisect(parts, expert, probability, low, high):
    """The mixture's quantile lies between the smallest and largest of the experts' quantiles."""
    if expert.discrete:
        low, high = np.floor(low) - 1, np.ceil(high)
    steps = BISECTIONS
    if expert.discrete:  # down to neighbouring numbers, however far apart the experts are
        widest = np.max(np.nan_to_num(high - low), initial=1)
        steps = int(np.log2(widest)) + 2
    for _ in range(steps):
        middle = np.floor((low + high) / 2) if expert.discrete else _between(low, high)
        enough = cdf(parts, expert, middle[:, None])[:, 0] >= probability
        low, high = np.where(enough, low, middle), np.where(enough, middle, high)
        if expert.discrete and np.all(high - low <= 1):
            break
    return high


def _between(low, high):
    """The mean; the geometric one where that finds a bound of another order of magnitude sooner."""
    wide = (low > 0) & (high > 4 * low)
    return np.where(wide, np.sqrt(np.abs(low)) * np.sqrt(np.abs(high)), (low + high) / 2)


def sample(model: MoEModel, params, rows: Rows, rng):
    """(n, m) draws and their expert labels (n,), which are those of the groups if there are any."""
    prob = components(model, params, rows).prob[rows.first]
    uniform = rng.random((prob.shape[0], 1))
    labels = rows.spread((uniform > np.cumsum(prob, axis=1)[:, :-1]).sum(axis=1))
    draws = model.expert.sample(
        params.expert,
        model.expert_design(rows.X),
        labels,
        model.scaled_offset(rows),
        rows.trials,
        rng,
    )
    if model.expert.scales_target:
        draws = draws * model.scaling.y_scale + model.scaling.y_centre
    return draws, labels
