"""Highest-density regions of the predictive law of one response.

The region of level l is the set {y : f(y | x) >= c} with the largest c for which it holds the
probability l (Hyndman, 1996, "Computing and graphing highest density regions", The American
Statistician 50, 120-126). A mixture's region may consist of several intervals.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from .predictive import Components, cdf, density, on_grid, quantile

ROWS = 2048  # at a time
HEARD = 1e-12  # gate probability below which an expert has no say
_TAIL = np.array([1e-15, 1e-12, 1e-9, 1e-7, 1e-5, 1e-4, 1e-3])
NODES = np.concatenate([_TAIL, np.linspace(0.005, 0.995, 100), 1 - _TAIL[::-1]])
TIE = 1e-9  # relative difference of probabilities that are equal
MOST_CELLS = 100_000  # of a lattice of counts; beyond them several counts share a cell


class _Curve(NamedTuple):
    """The law of some rows, and its density f at sorted nodes (n, G)."""

    parts: Components
    expert: object
    nodes: np.ndarray
    f: np.ndarray

    def take(self, rows):
        return _Curve(self.parts.take(rows), self.expert, self.nodes[rows], self.f[rows])


class _Ends(NamedTuple):
    """Where densities cross a level: row, place and direction (+1: the region begins)."""

    row: np.ndarray
    y: np.ndarray
    sign: np.ndarray


def highest_density(parts: Components, expert, level):
    """List of (m_i, 2) arrays: the intervals of each row's region, from left to right.

    For counts both ends of an interval belong to it. ``level`` is a number or (n,).
    """
    levels = np.broadcast_to(np.asarray(level, dtype=float), len(parts.prob))
    find = _counted if expert.discrete else _continuous
    out: list[np.ndarray] = []
    for start in range(0, len(levels), ROWS):
        block = slice(start, start + ROWS)
        out += find(parts.take(block), expert, levels[block])
    return out


def content(parts: Components, expert, y):
    """(n,) P(f(Y | x) > f(y | x)): the level of the largest region without y (n,)."""
    find = _counted_content if expert.discrete else _continuous_content
    out = np.empty(len(y))
    for start in range(0, len(y), ROWS):
        block = slice(start, start + ROWS)
        out[block] = find(parts.take(block), expert, y[block])
    return out


# --- continuous laws ------------------------------------------------------------------------


def _curve(parts, expert) -> _Curve:
    """Nodes at the experts' quantiles: every expert's mode lies among its own."""
    each = np.stack([expert.quantile(p, *parts.law(0)) for p in NODES], axis=-1)
    heard = parts.prob > HEARD
    main = each[np.arange(len(each)), parts.prob.argmax(axis=1)]
    each = np.where(heard[:, :, None], each, main[:, None])
    nodes = np.sort(each.reshape(len(each), -1), axis=1)
    f = on_grid(density, parts, expert, nodes)
    turns = _turns(parts, expert, nodes, f)
    f = np.concatenate([f, on_grid(density, parts, expert, turns)], axis=1)
    nodes = np.concatenate([nodes, turns], axis=1)
    order = np.argsort(nodes, axis=1, kind="stable")
    return _Curve(
        parts, expert, np.take_along_axis(nodes, order, 1), np.take_along_axis(f, order, 1)
    )


def _turns(parts, expert, nodes, f):
    """(n, T) places of the modes and of the dips between them, by golden sections.

    A region may begin at the tip of a mode, which lies between nodes. Rows with fewer than T
    turns repeat their first node.
    """
    left, middle, right = f[:, :-2], f[:, 1:-1], f[:, 2:]
    peak = (middle >= left) & (middle >= right)
    dip = (middle <= left) & (middle <= right)
    row, place = np.nonzero((peak | dip) & ~(peak & dip))
    sign, own = np.where(peak[row, place], 1.0, -1.0), parts.take(row)
    low, high = nodes[row, place], nodes[row, place + 2]

    def value(y):
        return sign * density(own, expert, y[:, None])[:, 0]

    share = (np.sqrt(5) - 1) / 2
    inner, outer = high - share * (high - low), low + share * (high - low)
    at_inner, at_outer = value(inner), value(outer)
    for _ in range(40):
        first = at_inner >= at_outer  # the turn lies on the side of the larger value
        low, high = np.where(first, low, inner), np.where(first, outer, high)
        new = np.where(first, high - share * (high - low), low + share * (high - low))
        at_new = value(new)
        inner, outer = np.where(first, new, outer), np.where(first, inner, new)
        at_inner, at_outer = np.where(first, at_new, at_outer), np.where(first, at_inner, at_new)
    count = np.bincount(row, minlength=len(nodes))
    turns = np.repeat(nodes[:, :1], max(int(count.max(initial=0)), 1), axis=1)
    rank = np.arange(len(row)) - np.repeat(np.cumsum(count) - count, count)
    turns[row, rank] = (low + high) / 2
    return turns


def _ends(curve: _Curve, height) -> _Ends:
    """Places where the densities cross ``height`` (n,); regions end at the outermost nodes."""
    n = len(height)
    above = np.zeros((n, curve.nodes.shape[1] + 2), dtype=np.int8)
    above[:, 1:-1] = curve.f >= height[:, None]
    change = np.diff(above, axis=1)
    row, place = np.nonzero(change)
    last = curve.nodes.shape[1] - 1
    left, right = np.clip(place - 1, 0, last), np.clip(place, 0, last)
    low, high = curve.nodes[row, left], curve.nodes[row, right]
    with np.errstate(divide="ignore"):
        f_low = np.log(curve.f[row, left]) - np.log(height[row])
        f_high = np.log(curve.f[row, right]) - np.log(height[row])
    inner = left < right
    y = low.copy()
    y[inner] = _crossing(
        curve, row[inner], height[row][inner], low[inner], high[inner], f_low[inner], f_high[inner]
    )
    return _Ends(row, y, change[row, place])


def _crossing(curve, row, height, low, high, f_low, f_high):
    """Roots of log f(y) - log height between brackets."""
    parts, target = curve.parts.take(row), np.log(height)

    def gap(y):
        with np.errstate(divide="ignore"):
            return np.log(density(parts, curve.expert, y[:, None])[:, 0]) - target

    rising = f_high > f_low
    sign = np.where(rising, 1.0, -1.0)
    low, high = _root(lambda y: sign * gap(y), low, high, sign * f_low, sign * f_high)
    return np.where(rising, high, low)  # the end where the density is at least the height


def _root(function, low, high, f_low, f_high):
    """Brackets of the roots of increasing functions, shrunk to rounding: the Illinois rule."""
    f_low, f_high = np.maximum(f_low, -1e3), np.minimum(f_high, 1e3)
    last = np.zeros(len(low))
    for step in range(80):
        done = (high - low <= 4e-16 * np.maximum(np.abs(low), np.abs(high))) | (low == high)
        if done.all():
            break
        y = low - f_low * (high - low) / np.where(f_high > f_low, f_high - f_low, 1.0)
        y = np.where((step % 4 == 3) | ~(f_high > f_low), (low + high) / 2, y)
        value = np.clip(function(np.clip(y, low, high)), -1e3, 1e3)
        y = np.clip(y, low, high)
        up, exact = value >= 0, np.abs(value) < 1e-14
        f_low = np.where(up & (last > 0), f_low / 2, f_low)
        f_high = np.where(~up & (last < 0), f_high / 2, f_high)
        low, f_low = np.where(~up | exact, y, low), np.where(up, f_low, value)
        high, f_high = np.where(up | exact, y, high), np.where(up, value, f_high)
        last = np.where(up, 1.0, -1.0)
    return low, high


def _mass(curve: _Curve, ends: _Ends):
    """(n,) probability between the ends."""
    F = cdf(curve.parts.take(ends.row), curve.expert, ends.y[:, None])[:, 0]
    return -np.bincount(ends.row, ends.sign * F, minlength=len(curve.nodes))


def _continuous(parts, expert, levels):
    known = np.isfinite(parts.prob).all(axis=1)
    rows = np.flatnonzero(known)
    curve = _curve(parts.take(rows), expert)
    height = _height(curve, levels[rows])
    ends = _ends(curve, height)
    out = [np.full((1, 2), np.nan) for _ in levels]
    places = np.split(ends.y, np.cumsum(np.bincount(ends.row, minlength=len(rows)))[:-1])
    for i, own in zip(rows, places, strict=True):
        out[i] = own.reshape(-1, 2)
    return out


def _height(curve: _Curve, levels):
    """(n,) largest density c at which {f >= c} holds the level, by the Illinois rule on log c."""
    guess = np.log(_guess(curve, levels))
    low, high = guess - 0.1, guess + 0.1
    at_low, at_high = (_over(curve, value, levels) for value in (low, high))
    for widen in 2.0 ** np.arange(12):
        short, long = at_low < 0, at_high >= 0
        if not (short.any() or long.any()):
            break
        low, high = np.where(short, low - widen, low), np.where(long, high + widen, high)
        at_low, at_high = _over(curve, low, levels), _over(curve, high, levels)
    # the content falls as the height grows
    low, _ = _root(lambda value: -_over(curve, value, levels), low, high, -at_low, -at_high)
    return np.exp(low)


def _over(curve, log_height, levels):
    """Probability of {f >= height} beyond the level."""
    return _mass(curve, _ends(curve, np.exp(log_height))) - levels


def _guess(curve, levels):
    """The height from the cells between nodes, the densest first."""
    F = on_grid(cdf, curve.parts, curve.expert, curve.nodes)
    dense = np.minimum(curve.f[:, :-1], curve.f[:, 1:])
    order = np.argsort(-dense, axis=1, kind="stable")
    held = np.cumsum(np.take_along_axis(np.diff(F, axis=1), order, axis=1), axis=1)
    place = np.minimum((held < levels[:, None]).sum(axis=1), held.shape[1] - 1)
    found = np.take_along_axis(dense, order, axis=1)[np.arange(len(levels)), place]
    return np.maximum(found, 1e-290)


def _continuous_content(parts, expert, y):
    out = np.full(len(y), np.nan)
    rows = np.flatnonzero(np.isfinite(parts.prob).all(axis=1))
    curve = _curve(parts.take(rows), expert)
    height = density(curve.parts, expert, y[rows, None])[:, 0]
    out[rows] = np.clip(_mass(curve, _ends(curve, height)), 0.0, 1.0)
    return out


# --- counts ---------------------------------------------------------------------------------


def _lattice(parts, expert):
    """Cells of one row: their first counts, how many counts each holds, and probabilities."""
    low = quantile(parts, expert, 1e-15)[0, 0]
    high = quantile(parts, expert, 1 - 1e-15)[0, 0]
    width = max(1.0, np.ceil((high - low + 1) / MOST_CELLS))
    first = np.arange(low, high + 1, width)[None]
    if width == 1:
        return first[0], width, on_grid(density, parts, expert, first)[0]
    F = on_grid(cdf, parts, expert, np.concatenate([first - 1, first[:, -1:] - 1 + width], axis=1))
    return first[0], width, np.diff(F[0])


def _counted(parts, expert, levels):
    out = []
    for i, level in enumerate(levels):
        one = parts.take(slice(i, i + 1))
        if not np.isfinite(one.prob).all():
            out.append(np.full((1, 2), np.nan))
            continue
        first, width, mass = _lattice(one, expert)
        ordered = np.sort(mass)[::-1]
        place = min(int((np.cumsum(ordered) < level).sum()), len(mass) - 1)
        out.append(_runs(first, width, mass >= ordered[place] * (1 - TIE)))
    return out


def _runs(first, width, inside):
    """(m, 2) first and last counts of the runs of cells inside."""
    change = np.diff(np.concatenate([[0], inside.astype(np.int8), [0]]))
    begin, end = np.flatnonzero(change > 0), np.flatnonzero(change < 0) - 1
    return np.column_stack([first[begin], first[end] + width - 1])


def _counted_content(parts, expert, y):
    own = density(parts, expert, y[:, None])[:, 0]
    out = np.full(len(y), np.nan)
    for i in np.flatnonzero(np.isfinite(own)):
        _, width, mass = _lattice(parts.take(slice(i, i + 1)), expert)
        out[i] = min(mass[mass > width * own[i] * (1 + TIE)].sum(), 1.0)
    return out
