"""Estimates on the user's scale with standard errors, by the delta method."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from ...experts import GLMParams
from ...gates import SoftmaxParams
from ..params import MoEParams
from ..rows import Scaling
from .outer import MixedFit
from .prediction import Fitted
from .problem import MixedParams, Problem

STEP = 1e-6


class Reported(NamedTuple):
    """coefficients, and components: names with estimates and standard errors.

    A component's name is (factor, part, term, other): a standard deviation where ``other`` is
    empty, else the correlation of two terms.
    """

    coefficient_names: list[str]
    coefficients: np.ndarray
    coefficient_errors: np.ndarray
    component_names: list[tuple[str, str, str, str]]
    components: np.ndarray
    component_errors: np.ndarray


def user_params(fitted: Fitted, params: MixedParams):
    """gate (K - 1, q), experts' coefficients (K, q) and dispersions (K,) in the user's units."""
    model = fitted.model
    gate = np.vstack([params.gate, np.zeros((1, len(model.gate_columns) + 1))])
    expert = GLMParams(params.expert[:, None], np.exp(params.log_dispersion)[:, None])
    to = Scaling.identity(len(model.scaling.x_scale), 1)
    user = model._replace(scaling=to).rescale(MoEParams(SoftmaxParams(gate), expert), model.scaling)
    gate = user.gate.coef[:-1] - user.gate.coef[-1]
    return gate, user.expert.coef[:, 0], user.expert.dispersion[:, 0]


def covariances(fitted: Fitted, params: MixedParams):
    """One (D, D) covariance matrix of the random effects per factor, in the user's units."""
    pairs = zip(fitted.factors, params.roots, strict=True)
    moved = [factor.effects.user @ root for factor, root in pairs]
    return [one @ one.T for one in moved]


def _components(fitted, params):
    """Standard deviations and correlations of all factors, one after the other."""
    out = []
    for factor, C in zip(fitted.factors, covariances(fitted, params), strict=True):
        sd = np.sqrt(np.diag(C))
        out.append(sd)
        i, j = _pairs(factor.effects)
        out.append(C[i, j] / np.maximum(sd[i] * sd[j], 1e-300))
    return np.concatenate(out)


def _pairs(effects):
    """Effects whose correlation is estimated."""
    related = effects.free | effects.free.T
    return np.nonzero(np.tril(related, -1))


def _component_names(fitted):
    out = []
    for factor in fitted.factors:
        e = factor.effects
        out += [(e.name, str(a), str(b), "") for a, b in zip(e.parts, e.names, strict=True)]
        for i, j in zip(*_pairs(e), strict=True):
            other = str(e.names[j]) if e.parts[i] == e.parts[j] else f"{e.parts[j]}: {e.names[j]}"
            out.append((e.name, str(e.parts[i]), str(e.names[i]), other))
    return out


def _coefficients(fitted, params):
    gate, expert, dispersion = user_params(fitted, params)
    shown = [gate.ravel(), expert.ravel()]
    return np.concatenate([*shown, dispersion] if fitted.row_family.has_dispersion else shown)


def _coefficient_names(fitted, names):
    model, K = fitted.model, fitted.model.K
    terms = ["(intercept)", *(str(names[j]) for j in model.gate_columns)]
    out = [f"gate {k} vs {K - 1}: {term}" for k in range(K - 1) for term in terms]
    terms = ["(intercept)", *(str(names[j]) for j in model.expert_columns)]
    out += [f"expert {k}: {term}" for k in range(K) for term in terms]
    if fitted.row_family.has_dispersion:
        out += [f"expert {k}: {model.expert.dispersion_name}" for k in range(K)]
    return out


def report(problem: Problem, fit: MixedFit, fitted: Fitted, names) -> Reported:
    """Estimates and standard errors; NaN where a parameter is on a bound."""

    def shown(vector):
        params = problem.unpack(vector)
        return np.concatenate([_coefficients(fitted, params), _components(fitted, params)])

    estimate = shown(fit.vector)
    d = len(fit.vector)
    jacobian = np.empty((len(estimate), d))
    for j in range(d):
        step = np.zeros(d)
        step[j] = STEP * (1 + abs(fit.vector[j]))
        jacobian[:, j] = (shown(fit.vector + step) - shown(fit.vector - step)) / (2 * step[j])
    free = ~fit.held
    own = jacobian[:, free]
    variance = np.einsum("ab,bc,ac->a", own, fit.covariance[np.ix_(free, free)], own)
    errors = np.sqrt(np.maximum(variance, 0))
    # an estimate that hangs on a held parameter alone has no standard error
    errors[np.abs(own).max(axis=1, initial=0) < 1e-12] = np.nan
    count = len(_coefficients(fitted, fitted.params))
    components = _components(fitted, fitted.params)  # zero where they lie on the boundary
    return Reported(
        _coefficient_names(fitted, names),
        estimate[:count],
        errors[:count],
        _component_names(fitted),
        components,
        np.where(components == 0, np.nan, errors[count:]),
    )
