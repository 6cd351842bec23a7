"""Generalised linear experts: a density in one linear predictor and at most one dispersion.

A family is written in 20-40 lines: its `unit` (log density, score, information element by
element), its variance, its distribution function and, where it has one, its dispersion's
maximiser: `glm_family`. Everything else is here.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from ..kernels.designs import linear, weighted_grams, weighted_sums
from ..kernels.links import IMPOSSIBLE, LINKS
from ..kernels.rows import RowUnit, observed_hessian
from ..penalties import is_sparse, ridge
from ..scaling import rescale_linear
from ..solvers import penalised_step, solve_newton, tied_newton_step, tied_penalised_step
from .glm_family import GLMFamily


class GLMParams(NamedTuple):
    """coef (K, m, q): intercept first, on standardised columns; dispersion (K, m)."""

    coef: np.ndarray
    dispersion: np.ndarray


class GLMStatistics(NamedTuple):
    """Local quadratic model of the experts' share of the surrogate, free of the dispersion.

    gram (K, m, q, q) = sum w r information x x'; score (K, m, q); mass (K,) = sum w r;
    extra (K, m): the sufficient statistic of the dispersion; weight () = sum w.
    """

    gram: np.ndarray
    score: np.ndarray
    mass: np.ndarray
    extra: np.ndarray
    weight: np.ndarray


class GLMExpert(GLMFamily):
    """Base of the generalised linear families (Nelder and Wedderburn, 1972)."""

    @property
    def kernel(self):  # type: ignore[override]
        return None if self.kernel_code is None else "glm"

    @property
    def compiled_m_step(self):  # type: ignore[override]
        simple = getattr(self, "tied", None) is None and self._plain_penalty
        return self.kernel is not None and not self.has_dispersion and simple

    def initial(self, K, q, y, weight, offset, trials):
        m = y.shape[1]
        coef = np.zeros((K, m, q))
        coef[:, :, 0] = LINKS[self.link_name].predictor(
            self.initial_mean(y, weight, offset, trials)
        )
        return GLMParams(coef, np.tile(self.initial_dispersion(y, weight), (K, 1)))

    def predictors(self, params, X, offset):
        """(n, K, m) linear predictors."""
        K, m, q = params.coef.shape
        eta = linear(X, params.coef.reshape(K * m, q)).reshape(X.shape[0], K, m)
        return eta if offset is None else eta + offset[:, None, :]

    def log_density(self, params, X, y, offset, trials):
        eta = self.predictors(params, X, offset)
        total = np.zeros(eta.shape[:2])
        for j in range(y.shape[1]):
            total += self._unit(eta[:, :, j], y[:, j], trials, params.dispersion[:, j]).log_density
        return np.maximum(total, IMPOSSIBLE) + self.row_part(y, trials)[:, None]

    def statistics(self, params, X, y, resp, weight, offset, trials):
        K, m, q = params.coef.shape
        eta = self.predictors(params, X, offset)
        gram, score = np.empty((K, m, q, q)), np.empty((K, m, q))
        extra = np.empty((K, m))
        for j in range(m):
            unit = self._unit(eta[:, :, j], y[:, j], trials, params.dispersion[:, j])
            gram[:, j] = weighted_grams(X, resp * unit.information)
            score[:, j] = weighted_sums(X, resp * unit.score)
            extra[:, j] = (resp * unit.extra).sum(axis=0)
        return GLMStatistics(gram, score, resp.sum(axis=0), extra, np.asarray(weight.sum()))

    def penalised_slopes(self, params):
        unit = self.penalty_unit(params.dispersion)[..., None]
        return self._members(params.coef[..., 1:] / unit)

    def penalty_gradient(self, params, gradient):
        unit = self.penalty_unit(params.dispersion)[..., None]
        return self._members(gradient * unit)

    def row_scores(self, params, X, y, resp, offset, trials):
        eta = self.predictors(params, X, offset)
        scores = np.empty(eta.shape)
        for j in range(y.shape[1]):
            unit = self._unit(eta[:, :, j], y[:, j], trials, params.dispersion[:, j])
            scores[:, :, j] = resp * unit.score
        scores /= self.dispersion_factor(params.dispersion)
        return scores.reshape(len(y), -1)

    def _unit(self, eta, y, trials, dispersion):
        m = np.ones(1) if trials is None else trials
        return self.unit(eta, y[:, None], m[:, None], dispersion[None, :])

    def layout(self, params):
        K, m, q = params.coef.shape
        place = np.arange(K * m * q).reshape(K, m, q)
        if not self.has_dispersion:
            return place
        spread = np.full((K, m, q), -1)
        spread[:, :, 0] = K * m * q + np.arange(K * m).reshape(K, m)
        return np.concatenate([place, spread], axis=1)

    def row_unit(self, params, X, y, offset, trials) -> RowUnit:
        """Derivatives by the m linear predictors and, where there are any, the log dispersions."""
        eta = self.predictors(params, X, offset)
        n, K, m = eta.shape
        J = m * (1 + self.has_dispersion)
        value, score, hessian = np.zeros((n, K)), np.zeros((J, n, K)), np.zeros((J, J, n, K))
        for j in range(m):
            phi = params.dispersion[:, j]
            own = [j, m + j] if self.has_dispersion else [j]
            unit = self._derivatives(eta[:, :, j], y[:, j], trials, phi)
            value += unit.log_density
            score[own] = unit.score
            hessian[np.ix_(own, own)] = unit.hessian
        value = np.maximum(value, IMPOSSIBLE) + self.row_part(y, trials)[:, None]
        return RowUnit(value, score, hessian)

    def _derivatives(self, eta, y, trials, phi) -> RowUnit:
        """Of one response: by its predictor and its log dispersion."""
        unit = self._unit(eta, y, trials, phi)
        factor = self.dispersion_factor(phi)
        by_eta = observed_hessian(
            lambda moved: self._unit(moved[0], y, trials, phi).score[None], [eta]
        )
        score = unit.score / factor
        if not self.has_dispersion:
            return RowUnit(unit.log_density, score[None], by_eta / factor)
        first, second, cross = self.dispersion_derivatives(unit.extra, score, phi)
        hessian = np.stack([np.stack([by_eta[0, 0] / factor, cross]), np.stack([cross, second])])
        return RowUnit(unit.log_density, np.stack([score, first]), hessian)

    def contrasts(self, params, names, reference):
        K, m, q = params.coef.shape
        d = len(self.pack(params))
        terms = ["(intercept)", *map(str, names)]
        tied, place = self._tied(q), np.arange(K * m * q).reshape(K, m, q)
        labels, columns = [], []
        for k in range(K):
            for j in range(m):
                response = f", response {j}" if m > 1 else ""
                for a in range(q):
                    if tied[a] and k > 0:
                        continue
                    who = "all experts" if tied[a] else f"expert {k}"
                    labels.append(f"{who}{response}: {terms[a]}")
                    columns.append(place[k, j, a])
        if self.has_dispersion:
            for k in range(1 if self.ties_dispersion else K):
                for j in range(m):
                    who = "all experts" if self.ties_dispersion else f"expert {k}"
                    response = f", response {j}" if m > 1 else ""
                    labels.append(f"{who}{response}: log({self.dispersion_name})")
                    columns.append(K * m * q + k * m + j)
        return labels, np.eye(d)[columns]

    def m_step(self, params, stats):
        step = self._coef_step(params, stats)
        return GLMParams(params.coef + step, self.dispersion_step(params, stats, step))

    def _coef_step(self, params, stats):
        """Newton step of the coefficients; exact for the Gaussian family with identity link."""
        q = params.coef.shape[-1]
        score, gram, tied = stats.score, stats.gram, self._tied(q)
        if self.sparse:
            return self._sparse_coef(params, stats, tied) - params.coef
        strengths = self._strengths(q)
        if not (strengths.any() or tied.any()):
            return solve_newton(gram, score)
        factor = self.dispersion_factor(params.dispersion)[..., None]
        if strengths.any():
            added = stats.weight[..., None, None, None] * strengths * factor
            score = score - added * params.coef
            gram = gram + added[..., None] * np.eye(q)
        if not tied.any():
            return solve_newton(gram, score)
        # tied over the experts: bring them to one scale and let the outputs m lead
        step = tied_newton_step(
            np.moveaxis(gram / factor[..., None], -3, -4),
            np.moveaxis(score / factor, -2, -3),
            tied,
        )
        return np.moveaxis(step, -3, -2)

    def _sparse_coef(self, params, stats, tied):
        """Coefficients under a sparse penalty: the outputs m lead, the experts are its members."""
        unit = self._members(self.penalty_unit(params.dispersion)[..., None])
        scale = self.dispersion_factor(params.dispersion)[..., None]
        scale = scale * stats.weight[..., None, None, None]
        # in the penalty's units: slopes b / unit, whose information is unit^2 times that of b
        gram = np.moveaxis(stats.gram / scale[..., None], -3, -4) * unit[..., None] ** 2
        score = self._members(stats.score / scale) * unit
        coef = self._members(params.coef) / unit
        if tied.any():
            moved = tied_penalised_step(gram, score, coef, self.penalty, tied)
        else:
            moved = penalised_step(gram, score, coef, self.penalty)
        return self._members(moved * unit)

    @staticmethod
    def _members(array):
        """Axes (..., K, m, q) as (..., m, K, q), or back: a penalty sees the experts together."""
        return np.swapaxes(array, -2, -3)

    def penalty_unit(self, dispersion):
        """(..., K, m) what slopes are divided by before the penalty sees them."""
        return np.ones_like(dispersion)

    def gradient(self, params, stats):
        factor = self.dispersion_factor(params.dispersion)[..., None]
        weight = stats.weight[..., None, None, None]
        q = params.coef.shape[-1]
        coef = stats.score / (factor * weight) - self._strengths(q) * params.coef
        tied = self._tied(q)
        if tied.any():
            # a shared coefficient moves all experts at once
            mean = coef.mean(axis=-3, keepdims=True)
            coef = np.where(tied, mean, coef)
        if self.sparse:
            unit = self.penalty_unit(params.dispersion)[..., None]
            slopes = self._members(params.coef[..., 1:] / unit)
            score = self._members(coef[..., 1:] * unit)
            coef[..., 1:] = self._members(self.penalty.subgradient(slopes, score)) / unit
        blocks = [coef.reshape(*coef.shape[:-3], -1)]
        if self.has_dispersion:
            dispersion = self.dispersion_gradient(params, stats) / weight[..., 0]
            blocks.append(dispersion.reshape(*dispersion.shape[:-2], -1))
        return np.concatenate(blocks, axis=-1)

    def penalty_value(self, params):
        if self.sparse:
            slopes = self.penalised_slopes(params)
            return self.penalty.value(slopes).sum(axis=-1)
        strengths = self._strengths(params.coef.shape[-1])
        return 0.5 * (strengths * params.coef**2).sum(axis=(-3, -2, -1))

    def pack(self, params):
        coef = params.coef.reshape(*params.coef.shape[:-3], -1)
        if not self.has_dispersion:
            return coef
        log_dispersion = np.log(params.dispersion).reshape(*params.dispersion.shape[:-2], -1)
        return np.concatenate([coef, log_dispersion], axis=-1)

    def unpack(self, vector, params):
        K, m, q = params.coef.shape[-3:]
        lead = vector.shape[:-1]
        coef = vector[..., : K * m * q].reshape(*lead, K, m, q)
        tied = self._tied(q)
        if tied.any():
            # a start may come with slopes of its own in every expert
            coef = np.where(tied, coef.mean(axis=-3, keepdims=True), coef)
        if not self.has_dispersion:
            return GLMParams(coef, np.ones((*lead, K, m)))
        log_dispersion = vector[..., K * m * q :].reshape(*lead, K, m)
        if self.ties_dispersion:
            mean = log_dispersion.mean(axis=-2, keepdims=True)
            log_dispersion = np.broadcast_to(mean, log_dispersion.shape)
        bounded = np.minimum(np.maximum(log_dispersion, -300), 300)
        return self.project(GLMParams(coef, np.exp(bounded)))

    def project(self, params):
        """The nearest parameters inside the bounds of the dispersion (batched)."""
        return params

    def bounded(self, params):
        return np.zeros(params.dispersion.shape[:-1], dtype=bool)

    def n_free(self, params):
        """Dispersions and coefficients: shared ones once, of sparse slopes the non-zero ones."""
        K, m, q = params.coef.shape
        tied = self._tied(q)
        counted = params.coef != 0 if self.sparse else np.ones((K, m, q), dtype=bool)
        counted[..., 0] = True
        free = int(counted[..., ~tied].sum()) + int(counted[0][:, tied].sum())
        return free + (self._n_dispersion(K, m) if self.has_dispersion else 0)

    def _n_dispersion(self, K, m):
        return K * m

    def slopes(self, params):
        K, m, q = params.coef.shape
        shared = int(self._tied(q).sum())
        others = K * m + (self._n_dispersion(K, m) if self.has_dispersion else 0)
        return self.n_free(params) - others, m * (K * (q - 1) - (K - 1) * shared)

    def shift(self, stats, params, step):
        """Quadratic model at ``params + step``; ``extra`` moves by its own second-order model."""
        moved = np.einsum("kmab,kmb->kma", stats.gram, step.coef)
        change = np.einsum("kma,kma->km", step.coef, stats.score - 0.5 * moved)
        return stats._replace(
            score=stats.score - moved, extra=stats.extra + self.extra_per_gain * change
        )

    def rescale(self, params, columns, old, new):
        coef, dispersion = rescale_linear(params.coef, columns, old, new), params.dispersion
        if self.scales_target:
            ratio = old.y_scale / new.y_scale
            coef, dispersion = coef * ratio[:, None], dispersion * ratio
            coef[..., 0] += (old.y_centre - new.y_centre) / new.y_scale
        return GLMParams(coef, dispersion)

    def mean(self, params, X, offset, trials):
        mean = LINKS[self.link_name].mean(self.predictors(params, X, offset))
        return np.where(mean > 0, mean, np.nan) if self.needs_positive_mean else mean

    def sample(self, params, X, labels, offset, trials, rng):
        rows = np.arange(len(labels))
        mean = self.mean(params, X, offset, trials)[rows, labels]
        m = None if trials is None else trials[:, None]
        possible = np.isfinite(mean)
        draws = self.draw(np.where(possible, mean, 1.0), m, params.dispersion[labels], rng)
        return np.where(possible, draws, np.nan)

    @property
    def sparse(self):  # type: ignore[override]
        return is_sparse(getattr(self, "penalty", None))

    @property
    def _plain_penalty(self):
        """True where the penalty is none, or a ridge of one strength."""
        penalty = getattr(self, "penalty", None)
        return not self.sparse and getattr(penalty, "weights", None) is None

    def _strengths(self, q):
        """(q,) strengths of a quadratic penalty, per unit weight."""
        return ridge(getattr(self, "penalty", None), q)

    @property
    def slope_curvature(self):
        """Ridge strength of a slope where all columns have the same, per unit weight."""
        return float(self._strengths(2)[1])

    def _tied(self, q):
        """(q,) mask of coefficients shared by all experts; the intercept is never among them."""
        mask = np.zeros(q, dtype=bool)
        tied = getattr(self, "tied", None)
        if tied is None:
            return mask
        if isinstance(tied, str):
            if tied != "all":
                raise ValueError(f"tied must be None, 'all' or positions; got {tied!r}.")
            mask[1:] = True
            return mask
        positions = np.atleast_1d(np.asarray(tied, dtype=int))
        if positions.size and (positions.min() < 0 or positions.max() > q - 2):
            raise ValueError(
                f"tied lists positions 0..{q - 2} among the experts' columns; got {tied!r}."
            )
        mask[1 + positions] = True
        return mask
