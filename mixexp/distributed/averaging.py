"""The baselines of the paper: averages of parameters, and the local fit in the middle."""

from __future__ import annotations

import numpy as np

from ..em.params import MoEParams, stack, take
from ..gates import SoftmaxParams
from ..solvers import centred
from .alignment import aligned_labels
from .divergence import nearest
from .large import LargeMixture

ROWS = 200  # of the support, on which pairs of partitions are compared


def naive_average(mixture: LargeMixture) -> MoEParams:
    """Weighted mean of parameters, each partition's experts in the order of their intercepts.

    Intercepts are those at x = 0. Nothing says that experts of one rank belong together: the rule
    is kept for comparison.
    """
    _check_sizes(mixture, "average")
    orders = [np.argsort(fit.coef[:, -1, 0], kind="stable") for fit in mixture.fits]
    return _average(mixture, orders)


def aligned_average(mixture: LargeMixture) -> MoEParams:
    """Weighted mean of parameters after matching each partition's experts to the largest one's.

    Coefficients and variances are averaged, and the centred logits of the gates.
    """
    _check_sizes(mixture, "aligned")
    labels = aligned_labels(mixture)
    orders = [np.argsort(labels[mixture.of(m)]) for m in range(len(mixture.fits))]
    return _average(mixture, orders)


def middle(mixture: LargeMixture) -> MoEParams:
    """The local fit with the smallest weighted mean divergence from all local fits.

    The divergence is the one without the second marginal, on some rows of the support.
    """
    _check_sizes(mixture, "middle")
    return mixture.local[int(np.argmin(mixture.share @ pairwise(mixture)))]


def pairwise(mixture: LargeMixture) -> np.ndarray:
    """(M, M) relaxed divergences from partition j (rows) to partition m (columns)."""
    step = max(1, len(mixture.X) // ROWS)
    X, weight, family = mixture.X[::step], mixture.weight[::step], mixture.family
    values = family.values(mixture.experts, X)
    M = len(mixture.fits)
    out = np.empty((M, M))
    share = np.bincount(mixture.owner, weights=weight.mean(axis=0), minlength=M)
    for m in range(M):
        own = family.values(mixture.local[m].expert, X)
        moved = _by_partition(mixture, family, weight, values, own)
        out[:, m] = moved / np.maximum(share, 1e-300)
    return out


def _by_partition(mixture, family, weight, values, own):
    """(M,) each partition's share of the relaxed divergence to the experts ``own``."""
    _, cost = nearest(family, values, own, own[0].shape[1])
    each = (weight * cost).mean(axis=0)
    return np.bincount(mixture.owner, weights=each, minlength=len(mixture.fits))


def _average(mixture, orders) -> MoEParams:
    """Mean over the partitions of experts taken in the given orders."""
    ordered = [take(params, order) for params, order in zip(mixture.local, orders, strict=True)]
    together = stack(ordered)
    gate = np.tensordot(mixture.share, centred(together.gate.coef), 1)
    return MoEParams(SoftmaxParams(gate), mixture.family.average(together.expert, mixture.share))


def _check_sizes(mixture, method):
    sizes = sorted({fit.n_experts for fit in mixture.fits})
    if sizes != [mixture.K]:
        raise ValueError(
            f"method={method!r} needs local fits of n_experts={mixture.K} experts each; got fits "
            f"of {sizes}. Use method='reduction', which takes any numbers."
        )
