"""Any family with a distribution function, where targets are known as intervals or are truncated.

A row says y in (l, u], with l = u for a value that was seen; and it may be in the data only because
y lies in (t, T]. Its likelihood is sum_k pi_k P_k(l < Y <= u) / sum_k pi_k P_k(t < Y <= T), with
the density in place of the first probability where y was seen (Fung, Badescu and Lin, 2022,
"Fitting censored and truncated regression data using the mixture of experts models", N. Am. Actuar.
J. 26, 496-520).

The fit is EM with the rows that truncation hid as further latent data: a row of admitted
probability P stands for (1 - P) / P hidden ones on average, of which it is known that they lie
outside (t, T]. They enter the statistics as censored rows do.
"""

from __future__ import annotations

import numpy as np

from ..kernels.links import LINKS
from ..kernels.rows import RowUnit
from .distributional import DistributionalExpert
from .regions import (
    Region,
    differences,
    is_truncated,
    log_probability,
    of_rows,
    representative,
    where_possible,
)
from .target import Target

STEP = 1e-3  # of central differences, on the scale of a predictor
COLUMNS = 4  # of a target: lower, upper, and the interval of truncation

AS_INTERVALS = ", some of its rows as intervals"


class IntervalExpert(DistributionalExpert):
    """A family of distributions for targets (n, 4): lower, upper, and the interval of truncation.

    Estimators make it where y is `intervals`; a target of one column holds plain values.

    Parameters
    ----------
    family : DistributionalExpert
    """

    takes_intervals = True

    def __init__(self, family=None):
        self.family = family

    @property
    def title(self):
        return f"{self.family.title}{AS_INTERVALS}"

    # --- what is the family's ---------------------------------------------------------------

    @property
    def parameters(self):  # type: ignore[override]
        return self.family.parameters

    @property
    def scales_target(self):  # type: ignore[override]
        return self.family.scales_target

    @property
    def discrete(self):  # type: ignore[override]
        return self.family.discrete

    @property
    def positive(self):  # type: ignore[override]
        return self.family.positive

    @property
    def linked_mean(self):  # type: ignore[override]
        return self.family.linked_mean

    @property
    def takes(self):  # type: ignore[override]
        return self.family.takes

    @property
    def max_ratio(self):  # type: ignore[override]
        return self.family.max_ratio

    @property
    def min_scale(self):
        return getattr(self.family, "min_scale", None)

    @property
    def penalty(self):
        return getattr(self.family, "penalty", None)

    def used(self, q):
        return self.family.used(q)

    def alternatives(self, params):
        return self.family.alternatives(params)

    def mean_of(self, theta, trials):
        return self.family.mean_of(theta, trials)

    def variance_of(self, theta, trials):
        return self.family.variance_of(theta, trials)

    def cdf_of(self, y, theta, trials):
        return self.family.cdf_of(y, theta, trials)

    def survival_of(self, y, theta, trials):
        return self.family.survival_of(y, theta, trials)

    def quantile_of(self, probability, theta, trials):
        return self.family.quantile_of(probability, theta, trials)

    def draw_of(self, theta, trials, rng):
        return self.family.draw_of(theta, trials, rng)

    def initial_parameters(self, y, weight, offset, trials):
        return self.family.initial_parameters(y, weight, offset, trials)

    # --- targets ----------------------------------------------------------------------------

    def points(self, y):
        """(n, 1) one value for every row: what was seen, or a point of its interval."""
        return representative(y)

    def has_density(self, y):
        """(n,) bool: the row's term is a density, not a probability."""
        return np.ones(len(y), dtype=bool) if y.shape[1] == 1 else y[:, 0] == y[:, 1]

    def without_truncation(self, y):
        if y.shape[1] == 1:
            return y
        return np.column_stack([y[:, :2], np.full(len(y), -np.inf), np.full(len(y), np.inf)])

    def check_target(self, y, trials=None):
        self.family.check_penalty()
        if self.family.keeps_rows:
            raise ValueError(
                f"{self.family.title} does not take intervals: it is fitted by exact regressions "
                'of values that were seen. Take expert="student" for heavy tails.'
            )
        seen = self.has_density(y)
        if seen.any():
            self.family.check_support(y[seen, 0], None if trials is None else trials[seen])
        if y.shape[1] == 1:
            return
        if not seen.any() and not np.isfinite(y[:, :2]).all(axis=1).any():
            raise ValueError(
                "y: no row has a value or a bounded interval; nothing says where the target lies. "
                "Give some rows that are not censored."
            )
        self._check_possible(y)

    def _check_possible(self, y):
        """Refuse intervals that the family gives no probability under any parameters."""
        low, high = self.family.support
        if self.discrete:
            empty = np.floor(y[:, 1]) < np.maximum(np.floor(y[:, 0]) + 1, low)
        else:
            empty = (y[:, 1] <= low) | (y[:, 0] >= high)
        empty &= ~self.has_density(y)
        if empty.any():
            i = int(np.argmax(empty))
            raise ValueError(
                f"{type(self.family).__name__} takes values in [{low:g}, {high:g}]; row {i} of y "
                f"says ({y[i, 0]:g}, {y[i, 1]:g}], where it has no probability."
            )

    def _inside(self, value):
        low, high = self.family.support
        return (value >= low if self.discrete else value > low) & (value < high)

    def _typical(self, y, *others):
        """Points of rows that lie inside the support, and what belongs to these rows."""
        value = representative(y)
        inside = self._inside(value[:, 0])
        inside = inside if inside.any() else np.ones(len(y), dtype=bool)
        return value[inside], *(None if one is None else one[inside] for one in others)

    def imputed(self, params, X, y, offset, trials, u):
        """(n, 1) values of one expert (K = 1) inside the rows' intervals, at shares u of them.

        And which of them the family can take.
        """
        eta = self.predictors(params, X, offset)
        links = [LINKS[parameter.link] for parameter in self.parameters]
        theta = [link.mean(e) for link, e in zip(links, eta, strict=True)]
        m = None if trials is None else trials[:, None]
        lower, upper = y[:, :1], y[:, 1:2]
        bounded = [np.where(np.isfinite(end), end, 0.0) for end in (lower, upper)]
        with np.errstate(all="ignore"):
            below, until = (self.family.cdf_of(end, theta, m) for end in bounded)
            below = np.where(np.isneginf(lower), 0.0, below)
            until = np.where(np.isposinf(upper), 1.0, until)
            share = np.clip(below + u[:, None] * (until - below), 1e-12, 1 - 1e-12)
            value = self.family.quantile_of(share, theta, m)
        value = np.where(np.isfinite(value), value, representative(y))
        least = np.floor(lower) + 1 if self.discrete else lower
        value = np.clip(value, least, np.floor(upper) if self.discrete else upper)
        value = np.where(lower == upper, lower, value)
        return value, self._inside(value[:, 0])

    def for_target(self, target, n_distinct):
        own = Target(*self._typical(target.y, target.weight))
        return IntervalExpert(self.family.for_target(own, n_distinct))

    def initial(self, K, q, y, weight, offset, trials):
        return self.family.initial(K, q, *self._typical(y, weight, offset, trials))

    # --- the density ------------------------------------------------------------------------

    def log_density_unit(self, eta, y, trials):
        seen, value = self.has_density(y), representative(y)
        out = np.array(self.family.log_density_unit(eta, value, trials))
        if not seen.all():
            hidden = ~seen
            region = Region(y[hidden, 0:1], y[hidden, 1:2])
            part, own = of_rows(eta, hidden), None if trials is None else trials[hidden]
            out = np.array(np.broadcast_to(out, (len(y), out.shape[1])))
            out[hidden] = log_probability(self.family, part, region, own)
        return out

    def score_unit(self, eta, y, trials):
        return self._unit(eta, y, trials)[0]

    def hessian_unit(self, eta, y, trials):
        return self._unit(eta, y, trials)[1]

    def _unit(self, eta, y, trials):
        seen, value = self.has_density(y), representative(y)
        shape = np.broadcast_shapes((len(y), 1), *(np.shape(e) for e in eta))
        J = len(eta)
        score = np.broadcast_to(self.family.score_unit(eta, value, trials), (J, *shape)).copy()
        hessian = np.broadcast_to(
            self.family.hessian_unit(eta, value, trials), (J, J, *shape)
        ).copy()
        if not seen.all():
            hidden = ~seen
            region = Region(y[hidden, 0:1], y[hidden, 1:2])
            own = None if trials is None else trials[hidden]
            found = self._derivatives(of_rows(eta, hidden), region, own)
            score[:, hidden], hessian[:, :, hidden] = found.score, found.hessian
        return score, hessian

    def row_unit(self, params, X, y, offset, trials) -> RowUnit:
        eta, m = self.predictors(params, X, offset), None if trials is None else trials[:, None]
        with np.errstate(all="ignore"):
            value = self.log_density_unit(eta, y, m)
            score, hessian = self._unit(eta, y, m)
        return where_possible(value, score, hessian)

    def _derivatives(self, eta, region, trials) -> RowUnit:
        steps = self._steps(eta)

        def value(moved):
            return log_probability(self.family, moved, region, trials)

        with np.errstate(all="ignore"):
            return where_possible(*differences(value, eta, steps))

    def _steps(self, eta):
        """Of every predictor: a location moves by shares of the row's scale."""
        steps = [np.full(np.shape(e), STEP) for e in eta]
        names = [parameter.name for parameter in self.parameters]
        if self.parameters[0].link == "identity" and "scale" in names:
            steps[0] = steps[0] * np.exp(eta[names.index("scale")])
        return steps

    # --- truncation -------------------------------------------------------------------------

    def truncates(self, y):
        """Whether any of the rows is there only because its target lies in an interval."""
        return y.shape[1] == COLUMNS and bool(is_truncated(y).any())

    def log_admitted(self, params, X, y, offset, trials):
        """(n, K) log P_k(t < Y <= T), 0 for rows that are not truncated; None where no row is."""
        if not self.truncates(y):
            return None
        rows = is_truncated(y)
        eta, own = self._part(params, X, offset, trials, rows)
        out = np.zeros((len(y), params.coef.shape[0]))
        with np.errstate(all="ignore"):
            region = Region(y[rows, 2:3], y[rows, 3:4])
            out[rows] = log_probability(self.family, eta, region, own)
        return out

    def statistics(self, params, X, y, resp, weight, offset, trials, hidden=None):
        """Additive statistics; ``hidden`` (n, K) are weights of the rows that truncation hid."""
        stats = super().statistics(params, X, y, resp, weight, offset, trials)
        if hidden is None:
            return stats
        rows = is_truncated(y)
        eta, own = self._part(params, X, offset, trials, rows)
        region = Region(y[rows, 2:3], y[rows, 3:4], outside=True)
        unit = self._derivatives(eta, region, own)
        more = self._sums(unit, X[rows], hidden[rows])
        gram, convex, score = (getattr(stats, name) for name in ("gram", "convex", "score"))
        return stats._replace(gram=gram + more[0], convex=convex + more[1], score=score + more[2])

    def _part(self, params, X, offset, trials, rows):
        eta = self.predictors(params, X, offset)
        return of_rows(eta, rows), None if trials is None else trials[rows][:, None]
