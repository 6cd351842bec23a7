"""Linear regression under a check loss: the exact minimum, by exchanges of rows that fit exactly.

A minimum of sum_i w_i (a max(r_i, 0) + c max(-r_i, 0)), r = y - X b, is reached at a vertex, where
q rows have r_i = 0. From a vertex the loss falls along an edge, which leaves one of these rows, to
the row where it stops falling: a weighted quantile of the rows' distances along the edge
(Bartels, Conn and Sinclair, 1978, SIAM J. Numer. Anal. 15, 224-241; Koenker and d'Orey, 1987,
JRSS C 36, 383-393). The numpy twin is the linear programme of the tests.

Rows on common hyperplanes would let exchanges go in circles: they are done for targets that are
moved by a tiny amount of each row's own, and the vertex is solved for the targets themselves.

Legend: n rows, q columns; a = above, c = below; the basis holds the q rows of a vertex, or -1 - j
for coefficient j, where the rows determine it no further; it keeps its value.
"""

from __future__ import annotations

import math

import numpy as np

from ._compile import entry, helper

NEAR = 1e-9  # residual of a row on the plane of a start, relative to the largest target
APART = 1e-10  # by which targets are moved, likewise
DEPENDENT = 1e-7  # part of a row that is left beside the others of a basis
ROUNDING = 1e-12  # of sums over the rows
MOST_EXCHANGES = 500, 100  # in all, and for every column


@helper
def _moved(i):
    """A number in (0, 1) for row i that no linear function of the columns gives."""
    value = math.sin((i + 1) * 12.9898) * 43758.5453
    return value - math.floor(value)


@helper
def _inverse(A, out):
    """Inverse by elimination with pivots; A is lost. False where it is singular."""
    q = A.shape[0]
    for i in range(q):
        for j in range(q):
            out[i, j] = 1.0 if i == j else 0.0
    for i in range(q):
        place = i
        for k in range(i + 1, q):
            if abs(A[k, i]) > abs(A[place, i]):
                place = k
        if A[place, i] == 0.0:
            return False
        for j in range(q):
            A[i, j], A[place, j] = A[place, j], A[i, j]
            out[i, j], out[place, j] = out[place, j], out[i, j]
        scale = 1.0 / A[i, i]
        for j in range(q):
            A[i, j] *= scale
            out[i, j] *= scale
        for k in range(q):
            factor = A[k, i]
            if k != i and factor != 0.0:
                for j in range(q):
                    A[k, j] -= factor * A[i, j]
                    out[k, j] -= factor * out[i, j]
    return True


@helper
def _part_outside(v, Q, count):
    """Take from v its part in the span of the first rows of Q; the length of what is left."""
    q = len(v)
    for _ in range(2):
        for k in range(count):
            inner = 0.0
            for a in range(q):
                inner += v[a] * Q[k, a]
            for a in range(q):
                v[a] -= inner * Q[k, a]
    total = 0.0
    for a in range(q):
        total += v[a] * v[a]
    return math.sqrt(total)


@helper
def _first_basis(X, w, r, near, basis):
    """Independent rows with zero residuals, completed by coefficients."""
    n, q = X.shape
    Q, v = np.empty((q, q)), np.empty(q)
    count = 0
    for i in range(n):
        if count == q:
            break
        if w[i] > 0.0 and abs(r[i]) <= near:
            size = 0.0
            for a in range(q):
                v[a] = X[i, a]
                size += v[a] * v[a]
            left = _part_outside(v, Q, count)
            if left > DEPENDENT * math.sqrt(size):
                for a in range(q):
                    Q[count, a] = v[a] / left
                basis[count] = i
                count += 1
    used = np.zeros(q, dtype=np.bool_)
    while count < q:
        best, place = -1.0, 0
        for j in range(q):
            if not used[j]:
                for a in range(q):
                    v[a] = 1.0 if a == j else 0.0
                left = _part_outside(v, Q, count)
                if left > best:
                    best, place = left, j
        for a in range(q):
            v[a] = 1.0 if a == place else 0.0
        left = _part_outside(v, Q, count)
        for a in range(q):
            Q[count, a] = v[a] / left
        used[place] = True
        basis[count] = -1 - place
        count += 1


@helper
def _invert_basis(X, basis, work, inverse):
    q = X.shape[1]
    for k in range(q):
        for a in range(q):
            if basis[k] >= 0:
                work[k, a] = X[basis[k], a]
            else:
                work[k, a] = 1.0 if a == -1 - basis[k] else 0.0
    return _inverse(work, inverse)


@helper
def _at_vertex(X, y, start, basis, inverse, coef):
    """Coefficients at which the rows of the basis fit exactly; one step of refinement."""
    q = X.shape[1]
    for a in range(q):
        coef[a] = start[a]
    for _ in range(2):
        step = np.zeros(q)
        for k in range(q):
            if basis[k] >= 0:
                left = y[basis[k]]
                for a in range(q):
                    left -= X[basis[k], a] * coef[a]
            else:
                left = start[-1 - basis[k]] - coef[-1 - basis[k]]
            for a in range(q):
                step[a] += inverse[a, k] * left
        for a in range(q):
            coef[a] += step[a]


@helper
def _loss(X, y, w, above, below, coef):
    total = 0.0
    for i in range(len(y)):
        if w[i] > 0.0:
            r = y[i]
            for a in range(len(coef)):
                r -= X[i, a] * coef[a]
            total += w[i] * (above * r if r > 0.0 else -below * r)
    return total


@helper
def _worst(v, w, above, below, basis, inverse, size):
    """(place, sign, fall) of the edge along which the loss falls fastest; place -1 for none.

    Coefficients leave before rows do.
    """
    q = len(v)
    place, sign, fall, best, coefficient = -1, 1.0, 0.0, 0.0, False
    for k in range(q):
        row = basis[k] >= 0
        low = -below * w[basis[k]] if row else 0.0
        high = above * w[basis[k]] if row else 0.0
        beyond = max(v[k] - high, low - v[k])
        length = 0.0
        for a in range(q):
            length += inverse[a, k] * inverse[a, k]
        length = math.sqrt(length)
        if not beyond > ROUNDING * length * size:
            continue
        first = not row and not coefficient
        if first or (row != coefficient and beyond / length > best):
            place, best, fall = k, beyond / length, beyond
            sign = -1.0 if v[k] > high else 1.0
            coefficient = not row
    return place, sign, fall


@helper
def _pull(X, y, w, above, below, inside, coef, r, h):
    """Residuals of the rows outside the basis, and what they pull the coefficients by."""
    h[:] = 0.0
    for i in range(len(y)):
        if inside[i] or not w[i] > 0.0:
            continue
        r[i] = y[i]
        for a in range(len(coef)):
            r[i] -= X[i, a] * coef[a]
        weight = w[i] * above if r[i] > 0.0 else -w[i] * below
        for a in range(len(coef)):
            h[a] += weight * X[i, a]


@helper
def _swap(distance, rise, rows, i, j):
    distance[i], distance[j] = distance[j], distance[i]
    rise[i], rise[j] = rise[j], rise[i]
    rows[i], rows[j] = rows[j], rows[i]


@helper
def _weighted_quantile(distance, rise, rows, m, total):
    """The row up to which, in the order of the distances, the rises reach the total; -1 for none.

    By partitions, as quickselect, so that no more is sorted than is needed.
    """
    low, high = 0, m
    while low < high:
        middle = (low + high) // 2
        pivot = max(
            min(distance[low], distance[high - 1]),
            min(max(distance[low], distance[high - 1]), distance[middle]),
        )
        less, same, at, more = 0.0, 0.0, low, high
        first = low
        while at < more:
            if distance[at] < pivot:
                less += rise[at]
                _swap(distance, rise, rows, at, first)
                first += 1
                at += 1
            elif distance[at] > pivot:
                more -= 1
                _swap(distance, rise, rows, at, more)
            else:
                same += rise[at]
                at += 1
        if less >= total:
            high = first
        elif less + same >= total:
            return rows[first]
        else:
            total -= less + same
            low = more
    return -1


@helper
def _where_it_stops(X, w, steepness, inside, r, d, fall, work):
    """The row at which the loss stops falling along d; -1 for none."""
    distance, rise, rows = work
    length, m = 0.0, 0
    for a in range(len(d)):
        length += d[a] * d[a]
    for i in range(len(r)):
        if inside[i] or not w[i] > 0.0:
            continue
        z, own = 0.0, 0.0
        for a in range(len(d)):
            z += X[i, a] * d[a]
            own += X[i, a] * X[i, a]
        if z * r[i] > 0.0 and abs(z) > ROUNDING * math.sqrt(length * own):
            distance[m], rows[m], rise[m] = r[i] / z, i, w[i] * steepness * abs(z)
            m += 1
    return _weighted_quantile(distance, rise, rows, m, fall)


@helper
def _sizes(X, y, w, steepest, start, r):
    """Residuals at the start into r; the largest target, and that of sums over the rows."""
    largest, size = 0.0, 0.0
    for i in range(len(y)):
        largest = max(largest, abs(y[i]))
        length = 0.0
        r[i] = y[i]
        for a in range(len(start)):
            r[i] -= X[i, a] * start[a]
            length += X[i, a] * X[i, a]
        size += max(w[i], 0.0) * math.sqrt(length) * steepest
    return largest, size


@helper
def _exchange(X, moved, w, above, below, start, basis, inside, r, size):
    """Exchanges of rows of the basis until no edge goes down: (settled, how many)."""
    n, q = X.shape
    work, inverse, coef = np.empty((q, q)), np.empty((q, q)), np.empty(q)
    h, v, d = np.empty(q), np.empty(q), np.empty(q)
    scratch = np.empty(n), np.empty(n), np.empty(n, dtype=np.int64)
    for exchanges in range(MOST_EXCHANGES[0] + MOST_EXCHANGES[1] * q):
        if not _invert_basis(X, basis, work, inverse):
            return False, exchanges
        _at_vertex(X, moved, start, basis, inverse, coef)
        _pull(X, moved, w, above, below, inside, coef, r, h)
        for k in range(q):
            v[k] = 0.0
            for a in range(q):
                v[k] -= inverse[a, k] * h[a]
        place, sign, fall = _worst(v, w, above, below, basis, inverse, size)
        if place < 0:
            return True, exchanges
        for a in range(q):
            d[a] = sign * inverse[a, place]
        entering = _where_it_stops(X, w, above + below, inside, r, d, fall, scratch)
        if entering < 0:
            return False, exchanges
        if basis[place] >= 0:
            inside[basis[place]] = False
        basis[place] = entering
        inside[entering] = True
    return False, MOST_EXCHANGES[0] + MOST_EXCHANGES[1] * q


@entry
def minimise(X, y, w, above, below, start):
    """The minimum that is reached from ``start``.

    Parameters
    ----------
    X : (n, q), y, w : (n,)
        Rows of weight zero count for nothing.
    above, below : float
        Slopes of the loss for positive and for negative residuals.
    start : (q,)

    Returns
    -------
    coef : (q,)
        Of no higher loss than the start.
    loss : float
    settled : bool
        Whether no edge goes down: the subgradient condition holds.
    exchanges : int
    """
    n, q = X.shape
    r, moved, inside = np.empty(n), np.empty(n), np.zeros(n, dtype=np.bool_)
    largest, size = _sizes(X, y, w, max(above, below), start, r)
    for i in range(n):
        moved[i] = y[i] + APART * largest * (0.5 + _moved(i))
    basis = np.empty(q, dtype=np.int64)
    _first_basis(X, w, r, NEAR * largest, basis)
    for k in range(q):
        if basis[k] >= 0:
            inside[basis[k]] = True
    settled, exchanges = _exchange(X, moved, w, above, below, start, basis, inside, r, size)
    work, inverse, coef = np.empty((q, q)), np.empty((q, q)), start.copy()
    if _invert_basis(X, basis, work, inverse):
        _at_vertex(X, y, start, basis, inverse, coef)
    loss, before = _loss(X, y, w, above, below, coef), _loss(X, y, w, above, below, start)
    if not loss <= before:
        return start.copy(), before, settled, exchanges
    return coef, loss, settled, exchanges
