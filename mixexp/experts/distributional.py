"""Experts whose density has several row-level parameters, each with a link and columns of its own.

Distributional regression (Rigby and Stasinopoulos, 2005, "Generalized additive models for location,
scale and shape", Applied Statistics 54, 507-554): a mean, and beside it a scale, a shape or a
probability of zeros, each with a linear predictor. A family gives its log density and the first
derivatives by the predictors; passes, M-steps, bounds, penalties and files are here.
"""

from __future__ import annotations

from typing import ClassVar, NamedTuple

import numpy as np

from ..kernels.designs import linear
from ..kernels.links import IMPOSSIBLE, LINKS
from ..kernels.rows import RowUnit, weighted_hessian, weighted_score
from ..penalties import ridge
from ..scaling import rescale_linear
from ..solvers.indefinite import bounded_newton, convex_part, is_convex
from ..solvers.ratio import ratio_bounded_newton
from .row_law import RowLaw, RowParameter, as_column, root_of

__all__ = [  # what families are made with
    "DistributionalExpert",
    "DistributionalParams",
    "DistributionalStatistics",
    "RowParameter",
    "curvature_sums",
    "root_of",
]

BEYOND = 1e150  # derivatives of a row whose sums and squares may be no numbers
LARGEST_STEP = 2.0  # of the intercept of a parameter other than the first, in one M-step


class DistributionalParams(NamedTuple):
    """coef (K, J, q): intercept first, on standardised columns; 0 for columns that are not used."""

    coef: np.ndarray


class DistributionalStatistics(NamedTuple):
    """Local quadratic model of the experts' share of the surrogate.

    gram (K, D, D) = - sum w r second derivatives; convex (K, D, D): the same with the negative
    curvatures of single rows left out, for steps where the sum is not convex; score (K, D);
    mass (K,) = sum w r; weight (). D counts the coefficients of one expert.
    """

    gram: np.ndarray
    convex: np.ndarray
    score: np.ndarray
    mass: np.ndarray
    weight: np.ndarray


class DistributionalExpert(RowLaw):
    """Base of the families in several row-level parameters.

    The first parameter takes all columns of the experts. The others have an intercept alone, unless
    a setting ``<name>_features`` of the family lists columns, as names, positions among the
    experts' columns, or "all".
    """

    column_settings: ClassVar[tuple[str, ...]] = ("scale_features",)
    newton_m_step = True
    batches = True
    takes_sparse_penalties = False
    max_ratio = 1e-2  # smallest scale over the largest one; its square, for precisions

    # --- layout of the coefficients ---------------------------------------------------------

    def used(self, q):
        """(J, q) mask of the coefficients that exist."""
        mask = np.zeros((len(self.parameters), q), dtype=bool)
        mask[:, 0] = True
        mask[0] = True
        for j, parameter in enumerate(self.parameters[1:], start=1):
            chosen = getattr(self, f"{parameter.name}_features", None)
            if chosen is None:
                continue
            if isinstance(chosen, str):
                if chosen != "all":
                    raise ValueError(
                        f"{parameter.name}_features must be None, 'all', or names or positions of "
                        f"the experts' columns; got {chosen!r}."
                    )
                mask[j] = True
                continue
            positions = np.atleast_1d(np.asarray(chosen, dtype=int))
            if positions.size and (positions.min() < 0 or positions.max() > q - 2):
                raise ValueError(
                    f"{parameter.name}_features lists positions 0..{q - 2} among the experts' "
                    f"columns; got {chosen!r}."
                )
            mask[j, 1 + positions] = True
        return mask

    def _own(self, coef):
        """(..., K, D) the coefficients that exist."""
        return coef[..., self.used(coef.shape[-1])]

    def _coef(self, own, shape):
        """The inverse of `_own`: (..., K, J, q)."""
        coef = np.zeros((*own.shape[:-1], *shape[-2:]))
        coef[..., self.used(shape[-1])] = own
        return coef

    def _intercepts(self, q):
        """(J,) positions of the intercepts among the D coefficients."""
        place = np.cumsum(self.used(q).ravel()).reshape(-1, q) - 1
        return place[:, 0]

    # --- the density ------------------------------------------------------------------------

    def initial(self, K, q, y, weight, offset, trials):
        coef = np.zeros((K, len(self.parameters), q))
        values = self.initial_parameters(y[:, 0], weight, offset, trials)
        for j, (parameter, value) in enumerate(zip(self.parameters, values, strict=True)):
            predictor = LINKS[parameter.link].predictor(np.float64(value))
            coef[:, j, 0] = np.clip(predictor, parameter.low, parameter.high)
        return DistributionalParams(coef)

    def predictors(self, params, X, offset):
        """J arrays (n, K), or (1, K) of parameters without columns; an offset enters the first."""
        with_columns = self.used(params.coef.shape[-1])[:, 1:].any(axis=1)
        with_columns[0] = True
        eta = [
            linear(X, params.coef[:, j]) if with_columns[j] else params.coef[None, :, j, 0]
            for j in range(params.coef.shape[1])
        ]
        if offset is not None:
            eta[0] = eta[0] + offset
        return eta

    def log_density(self, params, X, y, offset, trials):
        eta = self.predictors(params, X, offset)
        with np.errstate(all="ignore"):
            value = self.log_density_unit(eta, y, as_column(trials))
        return np.where(np.isfinite(value), np.maximum(value, IMPOSSIBLE), IMPOSSIBLE)

    def row_unit(self, params, X, y, offset, trials) -> RowUnit:
        """Derivatives by the predictors; nothing of a row outside the range of a link."""
        eta, m = self.predictors(params, X, offset), as_column(trials)
        with np.errstate(all="ignore"):
            value, score, hessian = self.derivatives_unit(eta, y, m)
        sizes = np.abs(score).max(axis=0), np.abs(hessian).max(axis=(0, 1))
        possible = np.isfinite(value) & (np.maximum(*sizes) < BEYOND)  # NaN is not
        return RowUnit(
            np.where(np.isfinite(value), value, IMPOSSIBLE),
            np.where(possible, score, 0.0),
            np.where(possible, hessian, 0.0),
        )

    def layout(self, params):
        K, J, q = params.coef.shape
        used = np.broadcast_to(self.used(q), (K, J, q))
        return np.where(used, np.cumsum(used.ravel()).reshape(K, J, q) - 1, -1)

    def contrasts(self, params, names, reference):
        K, _, q = params.coef.shape
        terms, labels = ["(intercept)", *map(str, names)], []
        used = self.used(q)
        for k in range(K):
            for j, parameter in enumerate(self.parameters):
                for a in np.flatnonzero(used[j]):
                    what = terms[a]
                    if j > 0:
                        link = "" if parameter.link == "identity" else parameter.link
                        name = f"{link}({parameter.name})" if link else parameter.name
                        what = f"{name}, {terms[a]}" if used[j, 1:].any() else name
                    labels.append(f"expert {k}: {what}")
        return labels, np.eye(len(labels))

    def statistics(self, params, X, y, resp, weight, offset, trials):
        unit = self.row_unit(params, X, y, offset, trials)
        gram, convex, score = self._sums(unit, X, resp)
        mass, total = resp.sum(axis=0), np.asarray(weight.sum())
        return DistributionalStatistics(gram, convex, score, mass, total)

    def _sums(self, unit, X, resp):
        """gram, convex and score of the statistics."""
        used = self.used(X.shape[1]).ravel()
        score = weighted_score(X, unit.score, resp).reshape(-1, len(used))
        return (
            curvature_sums(X, -unit.hessian, resp, used),
            curvature_sums(X, convex_part(-unit.hessian), resp, used),
            score[:, used],
        )

    def row_scores(self, params, X, y, resp, offset, trials):
        unit = self.row_unit(params, X, y, offset, trials)
        return (resp[:, :, None] * np.moveaxis(unit.score, 0, 2)).reshape(len(y), -1)

    # --- the M-step -------------------------------------------------------------------------

    def _strengths(self, q):
        """(D,) strengths of a quadratic penalty on the first parameter's slopes."""
        strengths = np.zeros((len(self.parameters), q))
        strengths[0] = ridge(getattr(self, "penalty", None), q)
        return strengths[self.used(q)]

    def m_step(self, params, stats):
        q = params.coef.shape[-1]
        own = self._own(params.coef)
        weight = stats.weight[..., None, None]
        # rows decide where the sum is not convex: that does not depend on how columns are written
        bent = ~is_convex(stats.gram)[..., None, None]
        gram, score = np.where(bent, stats.convex, stats.gram), stats.score
        strengths = weight * self._strengths(q)
        score = score - strengths * own
        gram = gram + strengths[..., None] * np.eye(own.shape[-1])
        place = self._intercepts(q)
        here = own[..., place]
        low, high = (limit - here for limit in self._own_limits(here))
        # where the likelihood is flat in one of them, the others shall move as they would
        low[..., 1:] = np.maximum(low[..., 1:], -LARGEST_STEP)
        high[..., 1:] = np.minimum(high[..., 1:], LARGEST_STEP)
        low, high = np.minimum(low, 0.0), np.maximum(high, 0.0)
        coupled = self._coupled()
        if coupled is None:
            step = bounded_newton(gram, score, place, low, high)
        else:
            step = ratio_bounded_newton(
                gram, score, place, low, high, here[..., coupled], coupled, self._gap(coupled)
            )
        return self.project(DistributionalParams(self._coef(own + step, params.coef.shape)))

    def _limits(self, intercepts):
        """Bounds (..., K, J) of the intercepts, those by the other experts among them."""
        low, high = self._own_limits(intercepts)
        j = self._coupled()
        if j is not None:
            values = intercepts[..., j]
            if self.parameters[j].spurious == "low":
                floor = values.max(axis=-1, keepdims=True) - self._gap(j)
                low[..., j] = np.maximum(low[..., j], floor)
            else:
                ceiling = values.min(axis=-1, keepdims=True) + self._gap(j)
                high[..., j] = np.minimum(high[..., j], ceiling)
        return low, high

    def _own_limits(self, intercepts):
        """Bounds (..., K, J) of the intercepts whatever those of the other experts."""
        low = np.array([self._lowest(parameter) for parameter in self.parameters])
        high = np.array([parameter.high for parameter in self.parameters])
        return tuple(np.broadcast_to(limit, intercepts.shape).copy() for limit in (low, high))

    def _coupled(self):
        """Place of the parameter whose values in different experts bound one another, or None."""
        places = [j for j, parameter in enumerate(self.parameters) if parameter.spurious]
        return places[0] if places else None

    def _gap(self, j):
        """How far the intercepts of that parameter may lie apart."""
        return -np.log(self.max_ratio) * (1 if self.parameters[j].spurious == "low" else 2)

    def _lowest(self, parameter):
        """Lower bound of a predictor: ``min_scale`` of a scale, where there is that setting."""
        least = getattr(self, "min_scale", None)
        if parameter.spurious != "low" or least is None:
            return parameter.low
        return float(np.log(least))

    def project(self, params):
        """The nearest parameters inside the bounds (batched)."""
        low, high = self._limits(params.coef[..., 0])
        intercepts = np.clip(params.coef[..., 0], low, high)
        return DistributionalParams(
            np.concatenate([intercepts[..., None], params.coef[..., 1:]], axis=-1)
        )

    def gradient(self, params, stats):
        q = params.coef.shape[-1]
        own = self._own(params.coef)
        gradient = stats.score / stats.weight[..., None, None] - self._strengths(q) * own
        place = self._intercepts(q)
        low, high = self._limits(own[..., place])
        here, at = own[..., place], gradient[..., place]
        slack = 1e-9
        held = ((here <= low + slack) & (at < 0)) | ((here >= high - slack) & (at > 0))
        gradient[..., place] = self._balanced(here, at, held)
        return gradient.reshape(*gradient.shape[:-2], -1)

    def _balanced(self, intercepts, gradient, held):
        """Gradients at bounds: of experts that follow another, their sum at the one that leads."""
        out = np.where(held, 0.0, gradient)
        j = self._coupled()
        if j is None:
            return out
        values, (low, high) = intercepts[..., j], self._own_limits(intercepts)
        if self.parameters[j].spurious == "low":
            extreme, own = values.max(axis=-1, keepdims=True), values <= low[..., j] + 1e-9
        else:
            extreme, own = values.min(axis=-1, keepdims=True), values >= high[..., j] - 1e-9
        follows = held[..., j] & ~own
        pull = np.where(follows, gradient[..., j], 0.0).sum(axis=-1, keepdims=True)
        leads = (values == extreme) & follows.any(axis=-1, keepdims=True)
        out[..., j] += np.where(leads, pull, 0.0)
        return out

    def bounded(self, params):
        low, high = self._limits(params.coef[..., 0])
        out = np.zeros(params.coef.shape[:-2], dtype=bool)
        for j, parameter in enumerate(self.parameters):
            value = params.coef[..., j, 0]
            if parameter.spurious == "low":
                out |= value <= low[..., j] + 1e-9
            elif parameter.spurious == "high":
                out |= value >= high[..., j] - 1e-9
        return out

    def penalty_value(self, params):
        own = self._own(params.coef)
        return 0.5 * (self._strengths(params.coef.shape[-1]) * own**2).sum(axis=(-2, -1))

    # --- vectors, counts, units -------------------------------------------------------------

    def pack(self, params):
        own = self._own(params.coef)
        return own.reshape(*own.shape[:-2], -1)

    def unpack(self, vector, params):
        K, J, q = params.coef.shape[-3:]
        own = vector.reshape(*vector.shape[:-1], K, -1)
        return self.project(DistributionalParams(self._coef(own, (K, J, q))))

    def n_free(self, params):
        return len(params.coef) * int(self.used(params.coef.shape[-1]).sum())

    def slopes(self, params):
        K, J, q = params.coef.shape
        return self.n_free(params) - K * J, K * int(self.used(q).sum()) - K * J

    def shift(self, stats, params, step):
        moved = np.einsum("kab,kb->ka", stats.gram, self._own(step.coef))
        return stats._replace(score=stats.score - moved)

    def rescale(self, params, columns, old, new):
        coef = rescale_linear(params.coef, columns, old, new)
        if self.scales_target:
            ratio = old.y_scale[0] / new.y_scale[0]
            coef[..., 0, :] *= ratio
            coef[..., 0, 0] += (old.y_centre[0] - new.y_centre[0]) / new.y_scale[0]
            coef[..., self._scale, 0] += np.log(ratio)
        return DistributionalParams(coef)

    # --- what estimators show ---------------------------------------------------------------

    def main_coef(self, params):
        return params.coef[..., :1, :]

    def display(self, params):
        """``<name>_``: (K,) values of a parameter without columns, (K, 1 + p) coefficients else."""
        used = self.used(params.coef.shape[-1])
        shown = {}
        for j, parameter in enumerate(self.parameters[1:], start=1):
            if used[j, 1:].any():
                shown[f"{parameter.name}_coef_"] = params.coef[:, j, 1:]
                shown[f"{parameter.name}_intercept_"] = params.coef[:, j, 0]
            else:
                shown[f"{parameter.name}_"] = LINKS[parameter.link].mean(params.coef[:, j, 0])
        return shown


def curvature_sums(X, curvature, resp, used):
    """(K, D, D) sums over the rows of curvatures (J, J, n, K) by the predictors."""
    size = len(used)
    gram = weighted_hessian(X, curvature, resp).transpose(0, 1, 3, 2, 4).reshape(-1, size, size)
    return gram[:, used][:, :, used]
