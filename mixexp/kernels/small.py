"""Small dense systems of the M-step and of the acceleration, compiled and batched.

At a few hundred rows a pass takes less time than one call of a numpy function per quantity; here
each quantity is one call for the whole batch. Numpy twins: `solvers.newton.solve_dense` and
`reference.anderson`.

Legend: S parameter sets or points of d coordinates, N systems, q unknowns, K classes or experts,
P = K (K - 1) / 2 pairs of classes, T = q (q + 1) / 2 entries of a packed upper triangle,
h remembered steps.
"""

from __future__ import annotations

import math

import numpy as np

from ._compile import entry, helper

LARGEST = 32  # systems beyond this size are faster in LAPACK
JITTER = 1e-10
FLOOR = 1e-200


@helper
def _solve_in_place(A, b, x):
    """Solve A x = b by Cholesky's factor in A's lower triangle; A is positive definite.

    A pivot lost to rounding leaves its unknown at zero.
    """
    q = len(b)
    for i in range(q):
        for j in range(i):
            total = A[i, j]
            for a in range(j):
                total -= A[i, a] * A[j, a]
            A[i, j] = total * A[j, j]
        total = A[i, i]
        for a in range(i):
            total -= A[i, a] * A[i, a]
        # the diagonal holds reciprocals; not (total > 0) also catches NaN
        A[i, i] = 1.0 / math.sqrt(total) if total > 0.0 else 0.0
        value = b[i]
        for a in range(i):
            value -= A[i, a] * x[a]
        x[i] = value * A[i, i]
    for i in range(q - 1, -1, -1):
        value = x[i]
        for a in range(i + 1, q):
            value -= A[a, i] * x[a]
        x[i] = value * A[i, i]


@helper
def newton_in_place(A, b, x):
    """x with (A + D) x = b, D = diag(JITTER (A_ii + max A_jj / 100) + FLOOR); A is lost."""
    largest = A[0, 0]
    for i in range(len(b)):
        largest = max(largest, A[i, i])
    for i in range(len(b)):
        A[i, i] += JITTER * (A[i, i] + 0.01 * largest) + FLOOR
    _solve_in_place(A, b, x)


@helper
def copy(source, out):
    for a in range(out.shape[0]):
        for b in range(out.shape[1]):
            out[a, b] = source[a, b]


@entry
def solve_newton(A, b):
    """Steps x (N, q) of `newton_in_place` for A (N, q, q) and b (N, q)."""
    N, q = b.shape
    x = np.empty((N, q))
    work = np.empty((q, q))
    for s in range(N):
        copy(A[s], work)
        newton_in_place(work, b[s], x[s])
    return x


@helper
def unpack_into(packed, full):
    t = 0
    for a in range(full.shape[0]):
        for b in range(a, full.shape[0]):
            full[a, b] = packed[t]
            full[b, a] = packed[t]
            t += 1


@entry
def unpack(packed, q):
    """Upper triangles (S, K, T) to full symmetric matrices (S, K, q, q)."""
    S, K = packed.shape[:2]
    full = np.empty((S, K, q, q))
    for s in range(S):
        for k in range(K):
            unpack_into(packed[s, k], full[s, k])
    return full


@helper
def add_pair(system, block, k, l, K):
    """Add one pair of classes' block (q, q) to the information; class K - 1 is the reference."""
    q = block.shape[0]
    for a in range(q):
        for b in range(q):
            value = block[a, b]
            system[k * q + a, k * q + b] += value
            if l < K - 1:
                system[l * q + a, l * q + b] += value
                system[k * q + a, l * q + b] -= value
                system[l * q + a, k * q + b] -= value


@helper
def add_centred_ridge(system, curvature, K):
    """Add the curvature (q,) of a ridge on the class-centred coefficients."""
    q = len(curvature)
    for k in range(K - 1):
        for l in range(K - 1):
            share = (1.0 if k == l else 0.0) - 1.0 / K
            for a in range(q):
                system[k * q + a, l * q + a] += share * curvature[a]


@entry
def softmax_system(pairs, curvature, K):
    """Information (N, (K - 1) q, (K - 1) q) of a softmax model, last class as the reference.

    pairs (N, P, q, q) = sum w pi_k pi_l x x', k < l; curvature (N, q) is the penalty's second
    derivative with respect to the class-centred coefficients.
    """
    N, q = curvature.shape
    system = np.zeros((N, (K - 1) * q, (K - 1) * q))
    for s in range(N):
        pair = 0
        for k in range(K - 1):
            for l in range(k + 1, K):
                add_pair(system[s], pairs[s, pair], k, l, K)
                pair += 1
        add_centred_ridge(system[s], curvature[s], K)
    return system


@helper
def quadratic_change_of(A, b, x):
    total = 0.0
    for i in range(len(b)):
        value = 2.0 * b[i]
        for j in range(len(b)):
            value -= A[i, j] * x[j]
        total += value * x[i]
    return total


@entry
def quadratic_change(A, b, x):
    """x' (2 b - A x) of N systems: (N,)."""
    out = np.empty(len(b))
    for s in range(len(b)):
        out[s] = quadratic_change_of(A[s], b[s], x[s])
    return out


@entry
def gain_and_certificate(gradient, residual):
    """Half the absolute scalar product and the largest absolute gradient, for S rows."""
    S, d = gradient.shape
    gain, certificate = np.empty(S), np.empty(S)
    for s in range(S):
        total, largest = 0.0, 0.0
        for a in range(d):
            total += gradient[s, a] * residual[s, a]
            # not (<=): a NaN must show
            if not abs(gradient[s, a]) <= largest:
                largest = abs(gradient[s, a])
        gain[s], certificate[s] = 0.5 * abs(total), largest
    return gain, certificate


@entry
def anderson(point, residual, gradient, steps, residuals, regularisation):
    """Anderson's mixture of the last images, (S, d); the plain image where that is not finite.

    point, residual = image - point and the objective's gradient (S, d); steps and residuals
    (S, h, d): past differences. Near a saddle the secant equations lead to the saddle, against
    the gradient; such a step is reflected.
    """
    S, h, d = steps.shape
    proposal = np.empty((S, d))
    gram, right, mixing = np.empty((h, h)), np.empty(h), np.empty(h)
    for s in range(S):
        trace = 0.0
        for i in range(h):
            for j in range(i + 1):
                total = 0.0
                for a in range(d):
                    total += residuals[s, i, a] * residuals[s, j, a]
                gram[i, j] = total
            trace += gram[i, i]
            total = 0.0
            for a in range(d):
                total += residuals[s, i, a] * residual[s, a]
            right[i] = total
        for i in range(h):
            gram[i, i] += regularisation * trace + 1e-300
        _solve_in_place(gram, right, mixing)
        ascent, plain_ascent = 0.0, 0.0
        for a in range(d):
            change = residual[s, a]
            for i in range(h):
                change -= mixing[i] * (steps[s, i, a] + residuals[s, i, a])
            proposal[s, a] = change
            ascent += gradient[s, a] * change
            plain_ascent += gradient[s, a] * residual[s, a]
        reflected = ascent < 0.0 and plain_ascent > 0.0
        finite = math.isfinite(ascent)
        for a in range(d):
            finite = finite and math.isfinite(proposal[s, a])
        for a in range(d):
            change = -proposal[s, a] if reflected else proposal[s, a]
            proposal[s, a] = point[s, a] + (change if finite else residual[s, a])
    return proposal
