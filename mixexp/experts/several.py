"""A different family in every expert."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from ..kernels.rows import RowUnit
from .base import Expert
from .distributional import DistributionalParams
from .interval import AS_INTERVALS
from .rowwise import rowwise


class MemberStatistics(NamedTuple):
    """The statistics of every expert's own family, each of one expert."""

    members: tuple

    @property
    def mass(self):
        """(K,) sums of the weighted responsibilities (batched)."""
        return np.concatenate([stats.mass for stats in self.members], axis=-1)

    @property
    def weight(self):
        """() total weight (batched)."""
        return self.members[0].weight


class ExpertList(Expert):
    """Expert k has the k-th family of a list: ``expert=[LognormalExpert(), GammaExpert()]``.

    The experts are told apart by their families, so their numbers mean something. All families
    have a distribution function of one response; either all are of counts or none is.

    Parameters
    ----------
    members : sequence of Expert
    """

    newton_m_step = True
    linked_mean = False
    takes_sparse_penalties = False
    column_settings = ()

    def __init__(self, members=()):
        self.members = members

    @property
    def families(self):
        """The members in the form with parameters of every row."""
        return [rowwise(member) for member in self.members]

    @property
    def title(self):
        titles = [member.title for member in self.members]
        names = [title.removesuffix(AS_INTERVALS) for title in titles]
        return f"({', '.join(names)})" + AS_INTERVALS * (names != titles)

    @property
    def scales_target(self):  # type: ignore[override]
        return all(family.scales_target for family in self.families)

    @property
    def discrete(self):  # type: ignore[override]
        return self.families[0].discrete

    @property
    def positive(self):  # type: ignore[override]
        return all(family.positive for family in self.families)

    @property
    def takes(self):  # type: ignore[override]
        own = [family.takes for family in self.families]
        return tuple(name for name in own[0] if all(name in other for other in own))

    @property
    def takes_intervals(self):  # type: ignore[override]
        return self.families[0].takes_intervals

    @property
    def smooth(self):  # type: ignore[override]
        return all(family.smooth for family in self.families)

    @property
    def keeps_rows(self):  # type: ignore[override]
        return any(family.keeps_rows for family in self.families)

    def with_members(self, function):
        """The list with a function of every member in its place."""
        return ExpertList([function(member) for member in self.members])

    # --- targets ----------------------------------------------------------------------------

    def check_target(self, y, trials=None):
        families = self.families
        kinds = {family.discrete for family in families}
        if len(kinds) > 1:
            raise ValueError(
                f"expert={self.title}: families of counts and of continuous targets have no common "
                "density. Take families of one kind."
            )
        for family in families:
            family.check_target(y, trials)

    def for_target(self, target, n_distinct):
        fitted = [family.for_target(target, n_distinct) for family in self.families]
        if not self.scales_target:  # then bounds of scales are in the units of y
            fitted = [_in_units_of(family, target) for family in fitted]
        return ExpertList(fitted)

    def points(self, y):
        return self.families[0].points(y)

    def has_density(self, y):
        return self.families[0].has_density(y)

    def without_truncation(self, y):
        return self.families[0].without_truncation(y)

    def truncates(self, y):
        return self.families[0].truncates(y)

    # --- one member at a time ---------------------------------------------------------------

    def each(self, params):
        """Pairs of a family and its own parameters, of one expert (batched)."""
        coef = params.coef
        return [
            (family, DistributionalParams(coef[..., k : k + 1, : len(family.parameters), :]))
            for k, family in enumerate(self.families)
        ]

    @property
    def n_parameters(self):
        return max(len(family.parameters) for family in self.families)

    def together(self, own):
        """One parameter set of all members' (batched); rows of zeros fill up the shorter ones."""
        J = self.n_parameters
        filled = [_filled(params.coef, J, axis=-2) for params in own]
        return DistributionalParams(np.concatenate(filled, axis=-3))

    def check_number(self, K):
        if K != len(self.members):
            raise ValueError(
                f"expert= lists {len(self.members)} families for n_experts={K}; give one for every "
                "expert."
            )

    def initial(self, K, q, y, weight, offset, trials):
        self.check_number(K)
        return self.together(
            [family.initial(1, q, y, weight, offset, trials) for family in self.families]
        )

    def log_density(self, params, X, y, offset, trials):
        return np.hstack(
            [family.log_density(own, X, y, offset, trials) for family, own in self.each(params)]
        )

    def log_admitted(self, params, X, y, offset, trials):
        if not self.truncates(y):
            return None
        return np.hstack(
            [family.log_admitted(own, X, y, offset, trials) for family, own in self.each(params)]
        )

    def statistics(self, params, X, y, resp, weight, offset, trials, hidden=None):
        parts = []
        for k, (family, own) in enumerate(self.each(params)):
            more = {} if hidden is None else {"hidden": hidden[:, k : k + 1]}
            share = resp[:, k : k + 1]
            parts.append(family.statistics(own, X, y, share, weight, offset, trials, **more))
        return MemberStatistics(tuple(parts))

    def m_step(self, params, stats):
        pairs = zip(self.each(params), stats.members, strict=True)
        return self.together([family.m_step(own, part) for (family, own), part in pairs])

    def gradient(self, params, stats):
        pairs = zip(self.each(params), stats.members, strict=True)
        return np.concatenate(
            [family.gradient(own, part) for (family, own), part in pairs], axis=-1
        )

    def shift(self, stats, params, step):
        moves = zip(self.each(params), self.each(step), stats.members, strict=True)
        return MemberStatistics(
            tuple(family.shift(part, own, move) for (family, own), (_, move), part in moves)
        )

    def penalty_value(self, params):
        return np.sum([family.penalty_value(own) for family, own in self.each(params)], axis=0)

    def bounded(self, params):
        return np.concatenate([family.bounded(own) for family, own in self.each(params)], axis=-1)

    def rows_needed(self, one):
        q = one.coef.shape[-1]
        return max(int(family.used(q).sum()) for family in self.families)

    def pack(self, params):
        return np.concatenate([family.pack(own) for family, own in self.each(params)], axis=-1)

    def unpack(self, vector, params):
        out, start = [], 0
        for family, own in self.each(params):
            size = int(family.used(own.coef.shape[-1]).sum())
            out.append(family.unpack(vector[..., start : start + size], own))
            start += size
        return self.together(out)

    def n_free(self, params):
        return sum(family.n_free(own) for family, own in self.each(params))

    def slopes(self, params):
        each = [family.slopes(own) for family, own in self.each(params)]
        return sum(own for own, _ in each), sum(full for _, full in each)

    def rescale(self, params, columns, old, new):
        return self.together(
            [family.rescale(own, columns, old, new) for family, own in self.each(params)]
        )

    def alternatives(self, params):
        out, pairs = [], self.each(params)
        for k, (family, own) in enumerate(pairs):
            for other in family.alternatives(own):
                out.append(self.together([*(p for _, p in pairs[:k]), other, *_after(pairs, k)]))
        return out

    # --- inference --------------------------------------------------------------------------

    def layout(self, params):
        K, _, q = params.coef.shape
        out, start = np.full((K, self.n_parameters, q), -1), 0
        for k, (family, own) in enumerate(self.each(params)):
            place = family.layout(own)
            out[k, : place.shape[1]] = np.where(place >= 0, place + start, -1)[0]
            start += family.n_free(own)
        return out

    def row_unit(self, params, X, y, offset, trials):
        J, units = self.n_parameters, []
        for family, own in self.each(params):
            unit = family.row_unit(own, X, y, offset, trials)
            hessian = _filled(_filled(unit.hessian, J, axis=0), J, axis=1)
            units.append((unit.log_density, _filled(unit.score, J, axis=0), hessian))
        value, score, hessian = (np.concatenate(parts, axis=-1) for parts in zip(*units))
        return RowUnit(value, score, hessian)

    def contrasts(self, params, names, reference):
        labels = []
        for k, (family, own) in enumerate(self.each(params)):
            each, _ = family.contrasts(own, names, reference)
            labels += [label.replace("expert 0:", f"expert {k}:", 1) for label in each]
        return labels, np.eye(len(labels))

    # --- the law ----------------------------------------------------------------------------

    def law(self, params, X, offset, trials, scaling):
        means, parameters = [], []
        for family, own in self.each(params):
            mean, theta = family.law(own, X, offset, trials, scaling)
            means.append(mean)
            parameters.append(_filled(theta, self.n_parameters, axis=-1))
        return np.concatenate(means, axis=1), np.concatenate(parameters, axis=1)

    def mean(self, params, X, offset, trials):
        each = [family.mean(own, X, offset, trials) for family, own in self.each(params)]
        return np.concatenate(each, axis=1)

    def _columns(self, name, first, mean, trials, dispersion):
        """(n, K) of every family's method ``name`` on its own column."""
        out = []
        for k, family in enumerate(self.families):
            law = dispersion[:, k : k + 1, : len(family.parameters)]
            own = (mean[:, k : k + 1], trials, law)
            out.append(
                np.broadcast_to(getattr(family, name)(*_column(first, k), *own), (len(law), 1))
            )
        return np.hstack(out)

    def variance(self, mean, trials, dispersion):
        return self._columns("variance", None, mean, trials, dispersion)

    def density(self, y, mean, trials, dispersion):
        return self._columns("density", y, mean, trials, dispersion)

    def cdf(self, y, mean, trials, dispersion):
        return self._columns("cdf", y, mean, trials, dispersion)

    def quantile(self, probability, mean, trials, dispersion):
        return self._columns("quantile", probability, mean, trials, dispersion)

    def excess(self, threshold, mean, trials, dispersion):
        return self._columns("excess", threshold, mean, trials, dispersion)

    def sample(self, params, X, labels, offset, trials, rng):
        out = np.empty((len(labels), 1))
        for k, (family, own) in enumerate(self.each(params)):
            rows = labels == k
            if rows.any():
                inputs = (None if values is None else values[rows] for values in (offset, trials))
                out[rows] = family.sample(own, X[rows], np.zeros(rows.sum(), int), *inputs, rng)
        return out

    # --- what estimators show ---------------------------------------------------------------

    def main_coef(self, params):
        return params.coef[..., :1, :]

    def display(self, params):
        """(K,) arrays of the further parameters, NaN for the families without them."""
        shown: dict[str, np.ndarray] = {}
        for k, (family, own) in enumerate(self.each(params)):
            for name, value in family.display(own).items():
                blank = np.full((len(self.members), *np.shape(value)[1:]), np.nan)
                shown.setdefault(name, blank)[k] = value[0]
        return shown


def _after(pairs, k):
    return (own for _, own in pairs[k + 1 :])


def _filled(array, size, axis):
    """An axis made longer by zeros."""
    missing = size - array.shape[axis]
    if not missing:
        return array
    shape = list(array.shape)
    shape[axis] = missing
    return np.concatenate([array, np.zeros(shape)], axis=axis)


def _column(first, k):
    """Column k of an argument (n, K); one that is the same for all experts as it is."""
    if first is None:
        return ()
    shape = np.shape(first)
    several = len(shape) == 2 and shape[1] > 1
    return (first[:, k : k + 1] if several else first,)


def _in_units_of(family, target):
    """A family whose ``min_scale`` is a share of the target's spread, in the units of y."""
    from sklearn.base import clone

    least = getattr(family, "min_scale", None)
    if least is None or not family.scales_target:
        return family
    spread = float(target.at(family.points).spread[0])
    return clone(family).set_params(min_scale=least * (spread if np.isfinite(spread) else 1.0))
