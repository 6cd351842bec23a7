"""The reduction estimator: K experts nearest to the large mixture, by majorisation-minimisation.

R_c(f) = E_x sum_l pi^W_l(x) min_k c_lk(x) is minimised over the experts of f; at the minimum the
gate has to follow the plan, pi_k(x) = sum_l P_lk(x), and is fitted to it (Chamroukhi and Pham,
2023, arXiv:2312.09877, sections 3 and 4). At f^(t) the plan P sends each local expert at each x to
the nearest; with P held, the surrogate lies above R_c, touches it there, and falls apart into one
problem for each expert.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from sklearn.cluster import KMeans

from ..em.params import MoEParams, take
from ..em.threads import single_threaded_blas
from ..gates import SoftmaxParams
from .alignment import aligned_labels
from .divergence import nearest, relaxed, row_blocks
from .large import LargeMixture
from .logit import soft_logit

ROWS = 200  # of the support, on which local fits are compared with the best run first
NEAR = 1.2  # times its value there, up to which ...
LEADERS = 4  # ... so many of them are compared on all of it
EMPTY = 1e-9  # share of the mixture below which a reduced expert has none of it


class Reduction(NamedTuple):
    """params; divergence R_c at the end; path of R_c; n_tries starts; converged."""

    params: MoEParams
    divergence: float
    path: np.ndarray
    n_tries: int
    converged: bool


class _Plan(NamedTuple):
    """Sums over the support: mass (S, K), sums (S, K, ...), value R_c; worst: the local expert
    with the largest share of R_c."""

    mass: np.ndarray
    sums: np.ndarray
    value: float
    worst: int


def reduce_mixture(
    mixture: LargeMixture, *, plan="pointwise", n_tries=4, max_iter=500, tol=1e-6, seed=0
) -> Reduction:
    """The best of several runs of the algorithm, and the gate fitted to its plan.

    Runs begin at the experts aligned to the largest partition's, and at k-means clusters of all
    local experts, weighted by their share of the mixture; equal beginnings run once. Where a local
    fit has a smaller R_c than they reach, one more begins there, which can only end below it.

    With plan="whole" a local expert goes to one reduced expert at all x: the plan does not depend
    on x, and R_c is the smallest over such plans.
    """
    find = _plan if plan == "pointwise" else _whole_plan
    with single_threaded_blas():
        starts = [_from_labels(mixture, labels) for labels in _divisions(mixture, n_tries, seed)]
        runs = [_run(mixture, experts, find, max_iter, tol) for experts in starts]
        best = min(runs, key=lambda run: run[1].value)
        for experts in _nearer_fit(mixture, find, best):
            best = _run(mixture, experts, find, max_iter, tol)
        experts, last, path, converged = best
        gate = _gate(mixture, last.mass)
    params = MoEParams(gate, experts)
    return Reduction(params, last.value, np.array(path), len(starts), converged)


def _nearer_fit(mixture, find, best) -> list[Any]:
    """The experts of the local fit with the smallest R_c, if that is below the best run's.

    A fit of fewer experts than K has its last one several times, which costs nothing. Fits are
    compared on a part of the support first, and those that come near on all of it.
    """
    part, own = mixture.thinned(ROWS), []
    limit = NEAR * _relaxed(part, best[0])
    for fit, params in zip(mixture.fits, mixture.local, strict=True):
        if fit.n_experts <= mixture.K:
            experts = take(params.expert, np.minimum(np.arange(mixture.K), fit.n_experts - 1))
            own.append((_relaxed(part, experts), experts))
    near = sorted((one for one in own if one[0] <= limit), key=lambda one: one[0])[:LEADERS]
    values = [find(mixture, experts).value for _, experts in near]
    below = bool(values) and min(values) < best[1].value
    return [near[int(np.argmin(values))][1]] if below else []


def _relaxed(mixture, experts) -> float:
    values = mixture.family.values(experts, mixture.X)
    return relaxed(mixture.family, mixture.weight, mixture.values, values, mixture.K)


def _divisions(mixture, n_tries, seed):
    """Distinct divisions (L,) of the local experts into K groups."""
    K, mass = mixture.K, mixture.mass
    found = []
    if K == max(fit.n_experts for fit in mixture.fits):
        labels = aligned_labels(mixture)
        if labels.max() == K - 1:
            found.append(labels)
    points = mixture.family.features(mixture.experts, mixture.X, mass)
    for number in range(n_tries):
        means = KMeans(K, n_init=1, random_state=seed + number)
        found.append(means.fit_predict(points, sample_weight=mass))
    distinct = {_canonical(labels).tobytes(): labels for labels in reversed(found)}
    return list(distinct.values())


def _canonical(labels):
    """The division with its groups numbered by their first members."""
    _, first, inverse = np.unique(labels, return_index=True, return_inverse=True)
    return np.argsort(np.argsort(first))[inverse]


def _run(mixture, experts, find, max_iter, tol):
    """Experts, last plan and path of R_c from some experts, and whether it has converged."""
    path: list[float] = []
    for _ in range(max_iter):
        experts, plan = _filled(mixture, experts, find)
        path.append(plan.value)
        if len(path) > 1 and path[-2] - path[-1] < tol:
            return experts, plan, path, True
        experts = _update(mixture, experts, plan)
    return experts, find(mixture, experts), path, False


def _plan(mixture, experts, labels=None) -> _Plan:
    """Where the mass goes, with what it carries; to fixed groups where ``labels`` are given."""
    family, K, S = mixture.family, mixture.K, len(mixture.weight)
    reduced = family.values(experts, mixture.X)
    mass = np.empty((S, K))
    sums: Any = None
    burden = np.zeros(mixture.weight.shape[1])
    for block in row_blocks(mixture.weight):
        own, weight = mixture.values.rows(block), mixture.weight[block]
        if labels is None:
            place, cost = nearest(family, own, reduced.rows(block), K)
            burden += (weight * cost).sum(axis=0)
        else:
            place = np.broadcast_to(labels, weight.shape)
        for k in range(K):
            part = np.where(place == k, weight, 0.0)
            carried = family.sums(own, part)
            sums = np.empty((S, K, carried.shape[1])) if sums is None else sums
            mass[block, k], sums[block, k] = part.sum(axis=1), carried
    return _Plan(mass, sums, float(burden.sum()) / S, int(burden.argmax()))


def _whole_plan(mixture, experts) -> _Plan:
    """Every local expert sent to the reduced one that is nearest over all x together."""
    family, weight = mixture.family, mixture.weight
    reduced = family.values(experts, mixture.X)
    costs = [
        (weight * family.cost(mixture.values, reduced, k)).mean(axis=0) for k in range(mixture.K)
    ]
    burden = np.min(costs, axis=0)
    plan = _plan(mixture, experts, np.argmin(costs, axis=0))
    return plan._replace(value=float(burden.sum()), worst=int(burden.argmax()))


def _update(mixture, experts, plan):
    return mixture.family.update(experts, mixture.X, plan.mass, plan.sums, mixture.model.expert)


def _from_labels(mixture, labels):
    """The reduced experts if every local expert went to its group at every x."""
    first = [int(np.flatnonzero(labels == k)[0]) for k in range(mixture.K)]
    begin = take(mixture.experts, np.array(first))
    return _update(mixture, begin, _plan(mixture, begin, labels))


def _filled(mixture, experts, find):
    """The plan; reduced experts without mass go where the local expert is that costs most.

    R_c falls by that.
    """
    plan = find(mixture, experts)
    for _ in range(mixture.K):
        empty = np.flatnonzero(plan.mass.mean(axis=0) < EMPTY)
        if len(empty) == 0 or plan.value <= 0:
            break
        source = take(mixture.experts, plan.worst)
        moved = [leaf.copy() for leaf in experts]
        for leaf, new in zip(moved, source, strict=True):
            leaf[empty[0]] = new
        experts = type(experts)(*moved)
        plan = find(mixture, experts)
    return experts, plan


def _gate(mixture, mass) -> SoftmaxParams:
    """Logits of the gate that follows the plan: a multinomial logit of the experts' masses.

    A penalty has acted in the local fits, and is not applied again.
    """
    share = np.maximum(mass.sum(axis=0), EMPTY)
    begin = np.zeros((mixture.K, mixture.X_gate.shape[1]))
    begin[:, 0] = np.log(share / share.sum())
    coef = soft_logit(mixture.X_gate, mass, begin, mixture.model.gate.ridge)
    return SoftmaxParams(coef)
