"""Group Lasso: slopes that enter and leave together."""

from __future__ import annotations

import numpy as np
from sklearn.base import clone

from .._component import PENALTIES, register
from .base import Penalty


@register(PENALTIES, "group_lasso")
class GroupLasso(Penalty):
    """``alpha * sum over groups of weight * Euclidean norm of the group's slopes``.

    Yuan and Lin (2006), J. R. Stat. Soc. B 68, 49-67. Without ``groups`` every column is a group
    of its slopes in all experts (or in all classes of a gate): a column is then in the part or
    out of it as a whole. With ``groups``, columns that belong together, such as the dummies of a
    categorical column, form one.

    Parameters
    ----------
    alpha : float, default=0.1
        Strength, at least 0, per unit weight.
    groups : None or sequence of sequences of int or str
        Positions among the part's columns, or names. Columns in no group are groups by
        themselves.
    across : bool, default=True
        A group spans all experts; False makes one of it in every expert. The classes of a
        softmax (a gate, a multinomial expert) are always spanned: their slopes sum to zero.
    weights : None or (G,) array
        A factor for every group, those of ``groups`` first, then the single columns in order.
        None: the square root of the group's number of slopes.
    """

    def __init__(self, alpha=0.1, groups=None, across=True, weights=None):
        self.alpha = alpha
        self.groups = groups
        self.across = across
        self.weights = weights

    def labels(self, p: int):
        """(p,) number of the group of every column."""
        number = np.full(p, -1)
        for g, group in enumerate(self.groups or ()):
            members = np.asarray(group)
            if members.dtype.kind not in "iu" or members.min() < 0 or members.max() >= p:
                raise ValueError(
                    f"GroupLasso: groups list positions 0..{p - 1} among the part's columns, or "
                    f"names of a frame's columns; got {group!r}."
                )
            if np.any(number[members] >= 0):
                raise ValueError(f"GroupLasso: a column of {group!r} is in two groups.")
            number[members] = g
        single = np.flatnonzero(number < 0)
        number[single] = len(self.groups or ()) + np.arange(len(single))
        return number

    def value(self, slopes):
        norms, factors = self._norms(slopes)
        return self.strength() * (norms * factors).sum(axis=(-2, -1))

    def prox(self, slopes, step):
        norms, factors = self._norms(slopes)
        threshold = step * self.strength() * factors
        share = np.maximum(1 - threshold / np.where(norms > 0, norms, 1.0), 0)
        return slopes * share[..., self.labels(slopes.shape[-1])]

    def subgradient(self, slopes, gradient, centred=False):
        if centred:
            gradient = gradient - gradient.mean(axis=-2, keepdims=True)
        labels = self.labels(slopes.shape[-1])
        norms, factors = self._norms(slopes)
        size, _ = self._norms(gradient)
        threshold = self.strength() * factors
        # a group at zero: what of the gradient the penalty cannot hold
        excess = np.maximum(1 - threshold / np.where(size > 0, size, 1.0), 0)[..., labels]
        pull = (threshold / np.where(norms > 0, norms, 1.0))[..., labels]
        return np.where(norms[..., labels] > 0, gradient - pull * slopes, gradient * excess)

    def zero_strength(self, gradient, centred=False):
        if centred:
            gradient = gradient - gradient.mean(axis=-2, keepdims=True)
        size, factors = self._norms(gradient)
        held = np.broadcast_to(factors > 0, size.shape)
        ratio = size / np.where(factors > 0, factors, 1.0)
        return float(ratio[held].max(initial=0.0))

    def free_columns(self, p):
        labels = self.labels(p)
        return np.broadcast_to(self._factors(labels, 1) == 0, (labels.max(initial=-1) + 1,))[labels]

    def together(self, chosen):
        labels = self.labels(len(chosen))
        return np.isin(labels, labels[chosen])

    def check(self, p, centred=False):
        super().check(p, centred)
        if centred and not self.across:
            raise ValueError(
                "GroupLasso(across=False) has groups inside single classes, but the slopes of the "
                "classes of a softmax sum to zero; use across=True on a gate or multinomial expert."
            )
        self._factors(self.labels(p), 1)

    def named(self, names):
        own = [str(name) for name in names]
        groups = []
        for group in self.groups or ():
            unknown = [name for name in group if isinstance(name, str) and name not in own]
            if unknown:
                raise ValueError(
                    f"GroupLasso: groups name the columns {unknown!r}; there are {own!r}."
                )
            groups.append([own.index(m) if isinstance(m, str) else int(m) for m in group])
        return clone(self).set_params(groups=groups) if groups else self

    def take(self, positions):
        """The groups of some columns; a group must be taken whole or not at all."""
        if not self.groups and self.weights is None:
            return self
        p = int(max(np.max(positions, initial=-1), max(map(max, self.groups or [[-1]])))) + 1
        labels, positions = self.labels(p), np.asarray(positions)
        kept = labels[positions]
        groups = [np.flatnonzero(kept == g).tolist() for g in dict.fromkeys(kept)]
        weights = None
        if self.weights is not None:
            weights = np.asarray(self.weights, dtype=float)[list(dict.fromkeys(kept))]
        return clone(self).set_params(groups=groups, weights=weights)

    def _norms(self, slopes):
        """Norms (..., J or 1, G) of the groups and their factors, broadcastable to them."""
        labels = self.labels(slopes.shape[-1])
        order = np.argsort(labels, kind="stable")
        first = np.searchsorted(labels[order], np.arange(labels.max(initial=-1) + 1))
        squares = np.add.reduceat(slopes[..., order] ** 2, first, axis=-1)
        members = 1
        if self.across:
            members = slopes.shape[-2]
            squares = squares.sum(axis=-2, keepdims=True)
        return np.sqrt(squares), self._factors(labels, members)

    def _factors(self, labels, members):
        count = np.bincount(labels, minlength=1) if len(labels) else np.empty(0)
        if self.weights is None:
            return np.sqrt(members * count)
        weights = np.asarray(self.weights, dtype=float)
        if weights.shape != count.shape or not np.all((weights >= 0) & np.isfinite(weights)):
            raise ValueError(
                f"GroupLasso needs {len(count)} finite weights >= 0, one a group; got an array of "
                f"shape {weights.shape}."
            )
        return weights
