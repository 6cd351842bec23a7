"""Penalised quadratics by coordinate descent, for the M-steps under Lasso-type penalties.

Legend: a quadratic model of the mean log-likelihood around the current coefficients b0 (q of
them, the intercept first),

    g' (b - b0) - (b - b0)' H (b - b0) / 2 - sum_j (l1_j |b_j| + l2_j b_j^2 / 2),

is maximised over b. `coordinate_descent` takes one quadratic for every expert;
`centred_descent` those of a softmax, whose coefficients sum to zero over the classes: there the
moves are transfers between two classes of a column, and in the unpenalised intercept of one class
against all others: the intercept of a class without rows would only creep along by transfers,
which move another class as well. Both keep the gradient at the current b, sweep over all
coordinates, then over the non-zero ones until they rest, and end when a sweep over all moves
nothing by more than ``tol``.
"""

from __future__ import annotations

import math

import numpy as np

from ._compile import entry, helper
from .small import _solve_in_place

SWEEPS = 20  # over the non-zero coordinates before they are solved for at once
FLAT = 1e-13  # curvature, relative to the largest, below which a coordinate stays where it is


@helper
def _soft(value, threshold):
    if value > threshold:
        return value - threshold
    if value < -threshold:
        return value + threshold
    return 0.0


@helper
def _sweep(H, g, b, l1, l2, least, active_only):
    """One sweep; returns the largest change of a gradient."""
    q = b.shape[0]
    largest = 0.0
    for j in range(q):
        if active_only and b[j] == 0.0:
            continue
        h = H[j, j]
        if h <= least:
            continue
        new = _soft(h * b[j] + g[j], l1[j]) / (h + l2[j])
        step = new - b[j]
        if step != 0.0:
            b[j] = new
            for a in range(q):
                g[a] -= H[j, a] * step
            largest = max(largest, abs(step) * (h + l2[j]))
    return largest


@helper
def _solve_active(H, g, b, l1, l2, least):
    """All non-zero coordinates at once, as far as no sign changes."""
    q = b.shape[0]
    index = np.empty(q, dtype=np.int64)
    size = 0
    for j in range(q):
        if b[j] != 0.0 and H[j, j] > least:
            index[size] = j
            size += 1
    if size == 0:
        return
    A, right, step = np.empty((size, size)), np.empty(size), np.empty(size)
    for i in range(size):
        j = index[i]
        right[i] = g[j] - l2[j] * b[j] - math.copysign(l1[j], b[j])
        for k in range(size):
            A[i, k] = H[j, index[k]]
        A[i, i] += l2[j] + 1e-12 * H[j, j]
    _solve_in_place(A, right, step)
    length, blocking = 1.0, -1
    for i in range(size):
        j = index[i]
        if not math.isfinite(step[i]):
            return
        if l1[j] > 0.0 and b[j] * (b[j] + length * step[i]) < 0.0:
            length, blocking = -b[j] / step[i], j
    for i in range(size):
        j = index[i]
        move = length * step[i]
        if j == blocking:
            move = -b[j]
            b[j] = 0.0
        else:
            b[j] += move
        for a in range(q):
            g[a] -= H[j, a] * move


@entry
def coordinate_descent(H, g, b0, l1, l2, tol, rounds):
    """Maximisers (N, q) of N quadratics; H (N, q, q), the other arrays (N, q)."""
    N, q = b0.shape
    result = b0.copy()
    gradient = g.copy()
    for n in range(N):
        top = 0.0
        for j in range(q):
            top = max(top, H[n, j, j])
        least = FLAT * top
        for _ in range(rounds):
            if _sweep(H[n], gradient[n], result[n], l1[n], l2[n], least, False) <= tol:
                break
            still = True
            for _ in range(SWEEPS):
                if _sweep(H[n], gradient[n], result[n], l1[n], l2[n], least, True) <= tol:
                    still = False
                    break
            if still:
                _solve_active(H[n], gradient[n], result[n], l1[n], l2[n], least)
    return result


@helper
def _transfer(curvature, slope, first, second, l1_first, l1_second):
    """Amount moved from the second coefficient to the first that maximises their share.

    slope t - curvature t^2 / 2 - l1_first |first + t| - l1_second |second - t|.
    """
    at_first, at_second = -first, second
    low, high = min(at_first, at_second), max(at_first, at_second)
    both = l1_first + l1_second
    below = (slope + both) / curvature
    if below < low:
        return below
    above = (slope - both) / curvature
    if above > high:
        return above
    difference = l1_first - l1_second
    if at_first > at_second:
        difference = -difference
    return min(max((slope - difference) / curvature, low), high)


@helper
def _column(pairs, total, g, b, l1, l2, j, least):
    """Transfers between all pairs of classes in column j; the largest change of a gradient."""
    K, q = b.shape
    largest = 0.0
    pair = 0
    for k in range(K):
        for l in range(k + 1, K):
            cross = pairs[pair]
            pair += 1
            curvature = total[k, j, j] + total[l, j, j] + 2.0 * cross[j, j]
            if curvature <= least:
                continue
            curvature += l2[k, j] + l2[l, j]
            slope = g[k, j] - g[l, j] - l2[k, j] * b[k, j] + l2[l, j] * b[l, j]
            t = _transfer(curvature, slope, b[k, j], b[l, j], l1[k, j], l1[l, j])
            if t == 0.0:
                continue
            largest = max(largest, abs(t) * curvature)
            b[k, j] = 0.0 if t == -b[k, j] else b[k, j] + t
            b[l, j] = 0.0 if t == b[l, j] else b[l, j] - t
            for a in range(q):
                g[k, a] -= t * (total[k, j, a] + cross[j, a])
                g[l, a] += t * (total[l, j, a] + cross[j, a])
            other = 0
            for c in range(K):
                for d in range(c + 1, K):
                    # the pair (c, d) touches another class through k or l
                    if c == k and d != l:
                        _add_row(g, d, pairs[other], j, t, q)
                    elif d == k and c != l:
                        _add_row(g, c, pairs[other], j, t, q)
                    elif c == l and d != k:
                        _add_row(g, d, pairs[other], j, -t, q)
                    elif d == l and c != k:
                        _add_row(g, c, pairs[other], j, -t, q)
                    other += 1
    return largest


@helper
def _add_row(g, member, cross, j, t, q):
    for a in range(q):
        g[member, a] += t * cross[j, a]


@helper
def _intercepts(pairs, total, g, b, l1, l2, least):
    """Each class's intercept against all others; the largest change of a gradient."""
    K, q = b.shape
    largest = 0.0
    for k in range(K):
        if total[k, 0, 0] <= least or l1[k, 0] > 0.0:
            continue
        curvature = total[k, 0, 0] + l2[k, 0] * (1.0 - 1.0 / K)
        t = (g[k, 0] - l2[k, 0] * b[k, 0]) / curvature
        largest = max(largest, abs(t) * curvature)
        for l in range(K):
            b[l, 0] -= t / K
        b[k, 0] += t
        for a in range(q):
            g[k, a] -= t * total[k, 0, a]
        pair = 0
        for c in range(K):
            for d in range(c + 1, K):
                if c == k:
                    _add_row(g, d, pairs[pair], 0, t, q)
                elif d == k:
                    _add_row(g, c, pairs[pair], 0, t, q)
                pair += 1
    return largest


@helper
def _class_sweep(pairs, total, g, b, l1, l2, least, active_only):
    K, q = b.shape
    largest = _intercepts(pairs, total, g, b, l1, l2, least)
    for j in range(q):
        if active_only:
            empty = True
            for k in range(K):
                empty = empty and b[k, j] == 0.0
            if empty:
                continue
        largest = max(largest, _column(pairs, total, g, b, l1, l2, j, least))
    return largest


@entry
def centred_descent(pairs, g, b0, l1, l2, tol, fraction, rounds):
    """Maximisers (N, K, q) of N softmax quadratics.

    pairs (N, P, q, q): minus the blocks of the information between classes k < l; the other arrays
    (N, K, q). The coefficients b0 sum to zero over the classes, and so does the result. A sweep
    rests at ``tol``, or at ``fraction`` of what the first one moved.
    """
    N, K, q = b0.shape
    result = b0.copy()
    gradient = g.copy()
    total = np.empty((K, q, q))
    for n in range(N):
        total[:] = 0.0
        pair = 0
        top = 0.0
        for k in range(K):
            for l in range(k + 1, K):
                for a in range(q):
                    for c in range(q):
                        total[k, a, c] += pairs[n, pair, a, c]
                        total[l, a, c] += pairs[n, pair, a, c]
                pair += 1
        for k in range(K):
            for a in range(q):
                top = max(top, total[k, a, a])
        least = FLAT * top
        enough = -1.0
        for _ in range(rounds):
            args = pairs[n], total, gradient[n], result[n], l1[n], l2[n], least
            moved = _class_sweep(*args, False)
            enough = max(tol, fraction * moved) if enough < 0.0 else enough
            if moved <= enough:
                break
            for _ in range(SWEEPS):
                if _class_sweep(*args, True) <= enough:
                    break
    return result
