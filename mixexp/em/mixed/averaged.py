"""A row's term of the variational bound, with normal predictors instead of fixed ones.

Over laws of the row's expert besides, the best of which is in closed form, the term is
lse_k(E logit_k + E log f_k) - E lse(logits). The expectations are of one predictor each, but for
the last one, and the second derivatives by the means give those by the variances (Price's theorem).
"""

from __future__ import annotations

import numpy as np
from scipy import special

from ...kernels.reference import log_softmax, log_sum_exp
from .families import Family, RowDensity
from .mixture import RowTerms, covariance_of_classes
from .nodes import roots, rule


def averaged_terms(family: Family, eta, V, log_dispersion, y, trials) -> RowTerms:
    """`RowTerms` at mean predictors eta (n, J) with covariances V (n, J, J).

    ``complete`` is minus twice the derivative by V; ``information`` minus the second derivative by
    the means.
    """
    K = eta.shape[1] // 2
    unit = _averaged_density(family, eta[:, K:], V[:, K:, K:], log_dispersion, y, trials)
    normaliser, pi, prior = _averaged_gate(eta[:, :K], V[:, :K, :K])
    joint = eta[:, :K] + unit.value
    r = np.exp(log_softmax(joint))
    k = np.arange(K)
    spread = covariance_of_classes(r)
    hessian = np.empty((len(r), 2 * K, 2 * K))
    hessian[:, :K, :K] = spread - prior
    hessian[:, :K, K:] = spread * unit.e[:, None, :]
    hessian[:, K:, :K] = np.swapaxes(hessian[:, :K, K:], 1, 2)
    hessian[:, K:, K:] = hessian[:, :K, K:] * unit.e[:, :, None]
    hessian[:, K + k, K + k] += r * unit.ee
    complete = np.zeros_like(hessian)
    complete[:, :K, :K] = prior
    complete[:, K + k, K + k] = -r * unit.ee
    score = np.concatenate([r - pi, r * unit.e], axis=1)
    value = log_sum_exp(joint) - normaliser
    mixed = np.zeros((len(r), 2 * K, K))
    return RowTerms(value, score, -hessian, complete, r * unit.p, mixed)


def _averaged_density(family, e, V, log_dispersion, y, trials) -> RowDensity:
    """The families' derivatives averaged over each expert's own predictor."""
    scale = np.sqrt(np.maximum(np.einsum("nkk->nk", V), 0))
    nodes, weights = rule(1)
    total = None
    for node, weight in zip(nodes[:, 0], weights, strict=True):
        with np.errstate(over="ignore", invalid="ignore"):
            unit = family.density(
                e + scale * node, y[:, None], trials[:, None], log_dispersion[None, :]
            )
        part = [weight * value for value in unit]
        total = part if total is None else [a + b for a, b in zip(total, part, strict=True)]
    assert total is not None
    return RowDensity(*total)


def _averaged_gate(logits, V):
    """E lse, E pi and E of the covariance of the classes; the last logit is the reference."""
    K = logits.shape[1]
    free = K - 1
    C = roots(V[:, :free, :free])
    nodes, weights = rule(free)
    normaliser, pi = np.zeros(len(logits)), np.zeros(logits.shape)
    prior = np.zeros((*logits.shape, K))
    for node, weight in zip(nodes, weights, strict=True):
        moved = logits.copy()
        moved[:, :free] += C @ node
        prob = special.softmax(moved, axis=1)
        normaliser += weight * log_sum_exp(moved)
        pi += weight * prob
        prior += weight * covariance_of_classes(prob)
    return normaliser, pi, prior
