"""Newton steps of the M-step: small dense systems, batched over any leading axes.

The right-hand sides are gradients at the current point, taken from residuals. A relative jitter
on the diagonal therefore only slows a step along directions that the data do not determine; it
never moves the fixed point. Collinear and empty columns need no special case.
"""

from __future__ import annotations

import numpy as np

JITTER = 1e-10
FLOOR = 1e-200


def solve_newton(information, gradient):
    """Step ``information^-1 gradient`` of shapes (..., q, q) and (..., q)."""
    q = gradient.shape[-1]
    diagonal = np.einsum("...ii->...i", information)
    largest = diagonal.max(axis=-1, keepdims=True)
    regular = information.copy()
    regular.reshape(*regular.shape[:-2], q * q)[..., :: q + 1] += (
        JITTER * diagonal + JITTER * 1e-2 * largest + FLOOR
    )
    return np.linalg.solve(regular, gradient[..., None])[..., 0]


def tied_newton_step(information, gradient, tied):
    """Newton step when some columns share their coefficient across the experts.

    Parameters
    ----------
    information : (..., K, q, q)
        Per-expert information, already divided by each expert's dispersion.
    gradient : (..., K, q)
    tied : (q,) bool
        Columns whose coefficient all experts share.

    Returns
    -------
    (..., K, q) step, equal over the experts in the tied columns.
    """
    K, q = gradient.shape[-2:]
    own, shared = np.flatnonzero(~tied), np.flatnonzero(tied)
    size = K * len(own) + len(shared)
    # expansion[k] maps the reduced vector (own of each expert, then shared) to expert k's q slots
    expansion = np.zeros((K, q, size))
    for k in range(K):
        expansion[k, own, k * len(own) + np.arange(len(own))] = 1
        expansion[k, shared, K * len(own) + np.arange(len(shared))] = 1
    reduced = np.einsum("kas,...kab,kbt->...st", expansion, information, expansion, optimize=True)
    right = np.einsum("kas,...ka->...s", expansion, gradient)
    return np.einsum("kas,...s->...ka", expansion, solve_newton(reduced, right))


def softmax_newton_step(pairs, score, penalty_curvature):
    """Newton step of a softmax model in centred coefficients.

    Parameters
    ----------
    pairs : (..., P, q, q)
        sum w pi_k pi_l x x' for classes k < l.
    score : (..., K, q)
        Gradient of the penalised log-likelihood; it sums to zero over the classes.
    penalty_curvature : (q,)
        Second derivative of the penalty on the centred coefficients, in the units of `pairs`.

    Returns
    -------
    (..., K, q) step, centred over the classes.
    """
    K, q = score.shape[-2:]
    if K == 1:
        return np.zeros_like(score)
    # The last class is the reference inside this function alone.
    system = np.zeros((*score.shape[:-2], K - 1, q, K - 1, q))
    for pair, (k, l) in enumerate(zip(*np.triu_indices(K, 1), strict=True)):
        block = pairs[..., pair, :, :]
        system[..., k, :, k, :] += block
        if l < K - 1:
            system[..., l, :, l, :] += block
            system[..., k, :, l, :] -= block
            system[..., l, :, k, :] -= block
    for k in range(K - 1):
        for l in range(K - 1):
            share = (1.0 if k == l else 0.0) - 1.0 / K
            system[..., k, np.arange(q), l, np.arange(q)] += share * penalty_curvature
    size = (K - 1) * q
    flat = system.reshape(*score.shape[:-2], size, size)
    right = score[..., :-1, :].reshape(*score.shape[:-2], size)
    step = np.zeros_like(score)
    step[..., :-1, :] = solve_newton(flat, right).reshape(*score.shape[:-2], K - 1, q)
    return centred(step)


def centred(coef):
    """Coefficients (..., K, q) with their mean over the classes removed."""
    return coef - coef.mean(axis=-2, keepdims=True)
