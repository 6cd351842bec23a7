"""Penalised steps of the M-step: maximisers of a local quadratic model less a penalty.

All of them start from the current coefficients, which the quadratic model surrounds, and take
everything per unit weight. Shapes have any leading axes; q counts the intercept, which comes first
and is never penalised.
"""

from __future__ import annotations

import numpy as np

from ..kernels.reference import class_pairs
from .newton import reduced_system, tied_expansion

TOLERANCE = 1e-11  # of a gradient, per unit weight and on standardised columns
ROUNDS = 200
CLASS_ROUNDS = 10  # of a softmax, where transfers between classes may creep
PROXIMAL_STEPS = 300
FRACTION = 1e-3  # of its first move at which a step that creeps may end: passes do the rest


def penalised_step(gram, score, coef, penalty):
    """Coefficients (..., K, q) of K members whose quadratics are independent of each other.

    Parameters
    ----------
    gram : (..., K, q, q)
    score, coef : (..., K, q)
    penalty : Penalty
        A separable one is solved by coordinate descent, another by its proximal operator.
    """
    if penalty.separable:
        return separable_step(gram, score, coef, penalty.majoriser(coef[..., 1:]))
    curvature = np.abs(gram).sum(axis=-1).max(axis=(-2, -1))[..., None, None] + 1e-12

    def product(change):
        return np.einsum("...ab,...b->...a", gram, change)

    return proximal_step(product, curvature, score, coef, penalty.prox)


def tied_penalised_step(gram, score, coef, penalty, tied):
    """`penalised_step` when some columns, ``tied`` (q,) bool, share their coefficient.

    The penalty counts a shared slope once for every expert.
    """
    if not penalty.separable:
        raise ValueError(
            f"{type(penalty).__name__} on tied slopes is not available: leave the slopes untied, "
            "or use a penalty of single slopes such as L1."
        )
    expansion = tied_expansion(coef.shape[-2], tied)
    reduced, right = reduced_system(expansion, gram, score)
    count = expansion.sum(axis=(0, 1))
    start = np.einsum("kas,...ka->...s", expansion, coef) / count
    l1, l2 = (
        np.einsum("kas,...ka->...s", expansion, _with_intercept(strength, coef))
        for strength in penalty.majoriser(coef[..., 1:])
    )
    flat = _descend(reduced, right, start, l1, l2)
    return np.einsum("kas,...s->...ka", expansion, flat)


def penalised_softmax_step(pairs, score, coef, penalty, extra):
    """Coefficients (..., K, q) of a softmax, centred over its classes.

    Parameters
    ----------
    pairs : (..., P, q, q)
    score, coef : (..., K, q)
    penalty : Penalty
    extra : (q,)
        Strength of a ridge beside the penalty.
    """
    if coef.shape[-2] == 1:
        return np.zeros_like(coef)
    if penalty.separable:
        l1, l2 = penalty.majoriser(coef[..., 1:])
        return centred_step(pairs, score, coef, l1, l2, extra)
    return _proximal_softmax_step(pairs, score, coef, penalty, extra)


def _proximal_softmax_step(pairs, score, coef, penalty, extra):
    K = coef.shape[-2]
    full = softmax_information(pairs, K)
    score = score - extra * coef
    rows = np.abs(full).sum(axis=(-2, -1)).max(axis=(-2, -1))
    curvature = rows[..., None, None] + np.max(extra) + 1e-12

    def product(change):
        return np.einsum("...kalb,...lb->...ka", full, change) + extra * change

    moved = proximal_step(product, curvature, score, coef, penalty.centred_prox)
    return centred_on_support(moved)


def separable_step(gram, score, coef, majoriser):
    """Coefficients (..., q) that maximise each quadratic less a weighted absolute value.

    Parameters
    ----------
    gram : (..., q, q)
    score, coef : (..., q)
        Gradient at the current coefficients, and these.
    majoriser : Majoriser of shape (..., q - 1)
    """
    l1, l2 = (_with_intercept(strength, coef) for strength in majoriser)
    return _descend(gram, score, coef, l1, l2)


def _descend(gram, score, coef, l1, l2):
    """Coordinate descent with strengths (..., q) for all coefficients."""
    from ..kernels import lasso  # compiled when a penalty first needs it

    q = coef.shape[-1]
    arrays = (np.ascontiguousarray(a).reshape(-1, q) for a in (score, coef, l1, l2))
    flat = lasso.coordinate_descent(
        np.ascontiguousarray(gram).reshape(-1, q, q), *arrays, TOLERANCE, ROUNDS
    )
    return flat.reshape(coef.shape)


def centred_step(pairs, score, coef, l1, l2, extra):
    """As `separable_step` for a softmax: coefficients (..., K, q) that sum to zero over K.

    ``extra`` (q,) is the strength of a ridge beside the penalty.
    """
    from ..kernels import lasso

    K, q = coef.shape[-2:]
    l1, l2 = _with_intercept(l1, coef), _with_intercept(l2, coef) + extra
    arrays = (np.ascontiguousarray(a).reshape(-1, K, q) for a in (score, coef, l1, l2))
    flat = lasso.centred_descent(
        np.ascontiguousarray(pairs).reshape(-1, len(class_pairs(K)[0]), q, q),
        *arrays,
        TOLERANCE,
        FRACTION,
        CLASS_ROUNDS,
    )
    return centred_on_support(flat.reshape(coef.shape))


def proximal_step(product, curvature, score, coef, prox):
    """Maximiser of a quadratic less any penalty with a proximal operator.

    Accelerated proximal gradient steps with restarts (Beck and Teboulle, 2009, SIAM J. Imaging
    Sci. 2, 183-202; O'Donoghue and Candes, 2015, Found. Comput. Math. 15, 715-732). They need
    not end: the next pass begins where they stop, and only the certificate says converged.

    Parameters
    ----------
    product : callable
        Information times a change of the coefficients, both (..., J, q).
    curvature : (..., 1, 1) array
        At least the largest eigenvalue of the information.
    score, coef : (..., J, q)
        Gradient at the current coefficients, and these.
    prox : callable
        ``prox(slopes (..., J, q - 1), step)``.
    """
    point, ahead, momentum, enough = coef, coef, 1.0, None
    for _ in range(PROXIMAL_STEPS):
        gradient = score - product(ahead - coef)
        new = ahead + gradient / curvature
        new[..., 1:] = prox(new[..., 1:], 1 / curvature)
        step = new - point
        residual = np.abs((new - ahead) * curvature).max()
        enough = max(TOLERANCE, FRACTION * residual) if enough is None else enough
        if residual <= enough:
            return new
        if np.sum((ahead - new) * step) > 0:  # the momentum points uphill: start afresh
            momentum, ahead, point = 1.0, new, new
            continue
        following = 0.5 * (1 + np.sqrt(1 + 4 * momentum**2))
        ahead = new + (momentum - 1) / following * step
        point, momentum = new, following
    return point


def softmax_information(pairs, K):
    """(..., K, q, K, q) information of a softmax from the blocks between its classes."""
    k, l = class_pairs(K)
    q = pairs.shape[-1]
    full = np.zeros((*pairs.shape[:-3], K, q, K, q))
    for p in range(len(k)):
        block = pairs[..., p, :, :]
        full[..., k[p], :, k[p], :] += block
        full[..., l[p], :, l[p], :] += block
        full[..., k[p], :, l[p], :] -= block
        full[..., l[p], :, k[p], :] -= block
    return full


def centred_on_support(coef):
    """Coefficients (..., K, q) whose non-zero entries are shifted to sum to zero over K."""
    count = (coef != 0).sum(axis=-2, keepdims=True)
    mean = coef.sum(axis=-2, keepdims=True) / np.maximum(count, 1)
    return np.where(coef != 0, coef - mean, 0.0)


def _with_intercept(strength, coef):
    """Strengths of slopes (..., q - 1) behind the zero of an intercept, in the shape of coef."""
    out = np.zeros(coef.shape)
    out[..., 1:] = strength
    return out
