"""The steps of merging experts: which pair, at what cost, and what is left."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from mixexp.em.params import tree_map
from mixexp.em.summary import entropies
from mixexp.kernels.reference import log_softmax, log_sum_exp

Floats = NDArray[np.float64]


class Steps(NamedTuple):
    """The path: see the attributes of `MergePath`."""

    merges: NDArray[np.intp]
    heights: Floats
    loglik: Floats
    entropy: Floats


class Parts(NamedTuple):
    """A fit on its rows: all that merging reads.

    ``log_gate`` and ``log_density`` are (n, K); ``experts`` are the parameters on the fit's own
    scale; ``density`` gives the log densities (n, k) of experts; ``unit`` divides the parameters
    that have the unit of y.
    """

    experts: Any
    log_gate: Floats
    log_density: Floats
    weight: Floats
    density: Callable[[Any], Floats]
    unit: Floats | None

    @classmethod
    def of(cls, model: Any, X: Any, y: Any, sample_weight: Any, inputs: Mapping[str, Any]) -> Parts:
        model._model_.check_ungrouped("Merging experts")
        rows = model._rows(X, y, **inputs)
        inner, experts = model._model_, model._params_.expert
        if not hasattr(experts, "coef"):
            raise TypeError(
                f"merging needs experts with coefficients; got {type(inner.expert).__name__}."
            )

        def density(params: Any) -> Floats:
            return model._map(rows, lambda part: _log_density(inner, params, part))

        weight = np.ones(rows.n) if sample_weight is None else np.asarray(sample_weight, float)
        log_gate = model._map(rows, lambda part: inner.log_gate(model._params_, part.X))
        unit = None
        if inner.expert.scales_target and inner.expert.has_dispersion:
            share = weight @ np.exp(log_gate) / weight.sum()
            unit = np.exp(share @ np.log(experts.dispersion))
        return cls(experts, log_gate, density(experts), weight, density, unit)

    @property
    def total(self) -> float:
        return float(self.weight.sum())

    @property
    def gate_weights(self) -> Floats:
        """(K,) mean gate probabilities."""
        return self.weight @ np.exp(self.log_gate) / self.total

    @property
    def responsibilities(self) -> Floats:
        """(n, K)."""
        return np.exp(log_softmax(self.log_gate + self.log_density))


def by_measure(parts: Parts) -> Steps:
    """Merge the pair of the smallest distance: gates add up, experts become weighted means."""
    experts, weights = parts.experts, parts.gate_weights
    log_gate, log_density = parts.log_gate, parts.log_density
    names = list(range(len(weights)))
    merges: list[tuple[int, int]] = []
    heights: list[float] = []
    loglik, entropy = [], []
    while True:
        joint = log_gate + log_density
        loglik.append(parts.weight @ log_sum_exp(joint) / parts.total)
        entropy.append(entropies(np.exp(log_softmax(joint)), parts.weight)[0])
        if len(weights) == 1:
            return _steps(merges, heights, loglik, entropy)
        distance = _distances(experts, weights, parts.unit)
        i, j = divmod(int(np.argmin(distance)), len(weights))
        heights.append(distance[i, j])
        merges.append((names[i], names[j]))
        names = _without(names, i, j, len(parts.experts.coef) + len(merges) - 1)
        share = weights[[i, j]] / weights[[i, j]].sum()
        merged = tree_map(
            lambda leaf, i=i, j=j, share=share: np.tensordot(share, leaf[[i, j]], 1)[None], experts
        )
        experts = tree_map(
            lambda leaf, new, i=i, j=j: np.concatenate([np.delete(leaf, [i, j], axis=0), new]),
            experts,
            merged,
        )
        gate = np.logaddexp(log_gate[:, i], log_gate[:, j])[:, None]
        log_gate = np.hstack([np.delete(log_gate, [i, j], axis=1), gate])
        density = parts.density(merged)
        log_density = np.hstack([np.delete(log_density, [i, j], axis=1), density])
        weights = np.append(np.delete(weights, [i, j]), weights[[i, j]].sum())


def _distances(experts: Any, weights: Floats, unit: Floats | None) -> Floats:
    """(K, K) distances of all pairs, infinite on and below the diagonal."""
    coef = experts.coef if unit is None else experts.coef / unit[:, None]
    dispersion = getattr(experts, "dispersion", None)
    if dispersion is not None and unit is not None:
        dispersion = dispersion / unit
    weak = coef[..., 1:].reshape(len(coef), -1)
    if dispersion is not None:
        weak = np.hstack([weak, dispersion.reshape(len(coef), -1)])
    strong = coef[..., 0].reshape(len(coef), -1)
    size = weights[:, None] * weights / (weights[:, None] + weights)
    distance = size * (_squares(strong) + np.sqrt(_squares(weak)))
    return np.where(np.triu(np.ones_like(distance), 1) > 0, distance, np.inf)


def _squares(points: Floats) -> Floats:
    """(K, K) squared distances."""
    return ((points[:, None] - points) ** 2).sum(axis=-1)


def by_entropy(parts: Parts) -> Steps:
    """Merge the pair whose union lowers the entropy of the responsibilities most."""
    joint = parts.log_gate + parts.log_density
    mean = parts.weight @ log_sum_exp(joint) / parts.total
    resp = np.exp(log_softmax(joint))
    names = list(range(resp.shape[1]))
    merges: list[tuple[int, int]] = []
    heights: list[float] = []
    entropy = [entropies(resp, parts.weight)[0]]
    while resp.shape[1] > 1:
        gains = _entropy_gains(resp, parts.weight)
        i, j = divmod(int(np.argmax(gains)), len(gains))
        heights.append(gains[i, j])
        merges.append((names[i], names[j]))
        names = _without(names, i, j, len(parts.experts.coef) + len(merges) - 1)
        union = resp[:, [i, j]].sum(axis=1, keepdims=True)
        resp = np.hstack([np.delete(resp, [i, j], axis=1), union])
        entropy.append(entropies(resp, parts.weight)[0])
    return _steps(merges, heights, [mean] * len(entropy), entropy)


def _entropy_gains(resp: Floats, weight: Floats) -> Floats:
    """(K, K) falls of the entropy by the union of two columns; -inf on and below the diagonal."""
    K = resp.shape[1]
    own = weight @ _plogp(resp)
    gains = np.full((K, K), -np.inf)
    for i in range(K - 1):
        union = weight @ _plogp(resp[:, i : i + 1] + resp[:, i + 1 :])
        gains[i, i + 1 :] = union - own[i] - own[i + 1 :]
    return gains


def _plogp(values: Floats) -> Floats:
    return values * np.log(np.maximum(values, 1e-300))


def bend(entropy: Floats) -> Floats:
    """(K - 1,) squared error of two straight pieces over 1..K that meet at K, ..., 2.

    The ends cannot be bends: the entry of K is infinite.
    """
    counts, values = np.arange(1, len(entropy) + 1), entropy[::-1]
    errors = np.full(len(entropy) - 1, np.inf)
    for place in range(1, len(entropy) - 1):
        pieces = (slice(0, place + 1), slice(place, None))
        error = sum(_line_error(counts[piece], values[piece]) for piece in pieces)
        errors[len(entropy) - 1 - place] = error
    return errors


def _line_error(x: Any, y: Floats) -> float:
    centred, target = x - x.mean(), y - y.mean()
    slope = centred @ target / (centred @ centred)
    return float(((target - slope * centred) ** 2).sum())


def _steps(merges: list, heights: list, loglik: list, entropy: list) -> Steps:
    return Steps(
        np.array(merges, dtype=np.intp), np.array(heights), np.array(loglik), np.array(entropy)
    )


def _without(names: list[int], i: int, j: int, new: int) -> list[int]:
    return [name for k, name in enumerate(names) if k not in (i, j)] + [new]


def _log_density(inner: Any, experts: Any, rows: Any) -> Floats:
    """(n, k) log densities of experts in the user's units of y."""
    values = inner.expert.log_density(
        experts,
        inner.expert_design(rows.X),
        inner.scaling.target(rows.y),
        inner.scaled_offset(rows),
        rows.trials,
    )
    return values - np.log(inner.scaling.y_scale).sum()
