"""Newton steps of the M-step: small dense systems, batched over any leading axes.

The right-hand sides are gradients at the current point, taken from residuals. A relative jitter
on the diagonal therefore only slows a step along directions that the data do not determine; it
never moves the fixed point. Collinear and empty columns need no special case.
"""

from __future__ import annotations

import numpy as np

from ..kernels import small


def solve_newton(information, gradient):
    """Step ``information^-1 gradient`` of shapes (..., q, q) and (..., q)."""
    q = gradient.shape[-1]
    if q > small.LARGEST:
        return solve_dense(information, gradient)
    step = small.solve_newton(information.reshape(-1, q, q), gradient.reshape(-1, q))
    return step.reshape(gradient.shape)


def solve_dense(information, gradient):
    """`solve_newton` by LAPACK, for large systems; also the twin of the compiled one."""
    q = gradient.shape[-1]
    diagonal = np.einsum("...ii->...i", information)
    largest = diagonal.max(axis=-1, keepdims=True)
    regular = information.copy()
    regular.reshape(*regular.shape[:-2], q * q)[..., :: q + 1] += (
        small.JITTER * (diagonal + 0.01 * largest) + small.FLOOR
    )
    return np.linalg.solve(regular, gradient[..., None])[..., 0]


def quadratic_change(information, gradient, step):
    """Twice the rise of the local quadratic model, ``step' (2 gradient - information step)``."""
    q = gradient.shape[-1]
    change = small.quadratic_change(
        information.reshape(-1, q, q), gradient.reshape(-1, q), step.reshape(-1, q)
    )
    return change.reshape(gradient.shape[:-1])


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
    expansion = tied_expansion(gradient.shape[-2], tied)
    reduced, right = reduced_system(expansion, information, gradient)
    return np.einsum("kas,...s->...ka", expansion, solve_newton(reduced, right))


def tied_expansion(K, tied):
    """(K, q, s): from a reduced vector (own of each expert, then shared) to each expert's q."""
    q, own, shared = len(tied), np.flatnonzero(~tied), np.flatnonzero(tied)
    expansion = np.zeros((K, q, K * len(own) + len(shared)))
    for k in range(K):
        expansion[k, own, k * len(own) + np.arange(len(own))] = 1
        expansion[k, shared, K * len(own) + np.arange(len(shared))] = 1
    return expansion


def reduced_system(expansion, information, gradient):
    """The quadratic (..., K, q, q) and (..., K, q) in the reduced vector."""
    reduced = np.einsum("kas,...kab,kbt->...st", expansion, information, expansion, optimize=True)
    return reduced, np.einsum("kas,...ka->...s", expansion, gradient)


def softmax_newton_step(pairs, score, penalty_curvature):
    """Newton step of a softmax model in centred coefficients.

    Parameters
    ----------
    pairs : (..., P, q, q)
        sum w pi_k pi_l x x' for classes k < l.
    score : (..., K, q)
        Gradient of the penalised log-likelihood; it sums to zero over the classes.
    penalty_curvature : (q,) or (..., q)
        Second derivative of the penalty on the centred coefficients, in the units of `pairs`.

    Returns
    -------
    (..., K, q) step, centred over the classes.
    """
    K, q = score.shape[-2:]
    if K == 1:
        return np.zeros_like(score)
    # The last class is the reference inside this function alone.
    lead, size = score.shape[:-2], (K - 1) * q
    curvature = np.broadcast_to(penalty_curvature, (*lead, q)).reshape(-1, q)
    system = small.softmax_system(pairs.reshape(-1, *pairs.shape[-3:]), curvature, K)
    right = score.reshape(-1, K, q)[:, :-1].reshape(-1, size)
    step = np.zeros(score.shape)
    step.reshape(-1, K, q)[:, :-1] = solve_newton(system, right).reshape(-1, K - 1, q)
    return centred(step)


def centred(coef):
    """Coefficients (..., K, q) with their mean over the classes removed."""
    # np.mean costs three times the reduction it wraps
    return coef - np.add.reduce(coef, axis=-2, keepdims=True) / coef.shape[-2]
