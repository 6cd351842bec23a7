"""Predictions: averages over the normal laws of the effects that the rows' groups have."""

from __future__ import annotations

import itertools
from typing import Any, NamedTuple

import numpy as np
from scipy import special

from ...kernels.links import LINKS
from ...kernels.reference import log_softmax
from ..model import MoEModel
from ..rows import Rows
from .effects import Effects
from .families import FAMILIES, Family
from .mixture import parts
from .nodes import roots, rule
from .problem import MixedParams

UNSEEN = -1  # code of a group that the fit did not meet, or of a row without one


class FittedEffects(NamedTuple):
    """A factor's effects with the law that the fit gave them: means (G, D) and covariances
    (G, D, D) of the standard normal effects u."""

    effects: Effects
    means: np.ndarray
    covariances: np.ndarray


class Fitted(NamedTuple):
    """Everything a prediction needs; joint (N, N): covariances of the effects u of all factors, one
    factor after the other, where there are several and not too many effects."""

    family: str
    model: MoEModel
    params: MixedParams
    factors: tuple[FittedEffects, ...]
    joint: np.ndarray | None = None

    @property
    def row_family(self) -> Family:
        return FAMILIES[self.family]


class Laws(NamedTuple):
    """Normal laws of the rows' predictors: means (n, J), covariances (n, J, J)."""

    means: np.ndarray
    covariances: np.ndarray


def laws(fitted: Fitted, rows: Rows, codes, integrate: bool) -> Laws:
    """The laws of the predictors of new rows.

    Parameters
    ----------
    codes : one (n,) int array per factor
        Numbers of the groups; `UNSEEN` has the prior's law.
    integrate : bool
        False: all effects at their means, with no covariance.

    Notes
    -----
    Effects of different factors are independent in the prior; in the posterior their covariances
    enter where the fit has kept them.
    """
    model, params, K = fitted.model, fitted.params, fitted.model.K
    means = np.zeros((rows.n, 2 * K))
    means[:, : K - 1] = model.gate_design(rows.X) @ params.gate.T
    means[:, K:] = model.expert_design(rows.X) @ params.expert.T
    if rows.offset is not None:
        means[:, K:] += model.scaled_offset(rows)
    covariances = np.zeros((rows.n, 2 * K, 2 * K))
    loadings, places, start = [], [], 0
    for factor, root, code in zip(fitted.factors, params.roots, codes, strict=True):
        A = factor.effects.design(rows.X) @ root
        seen = code != UNSEEN
        u, S = factor.means[code], factor.covariances[code].copy()
        S[~seen] = np.eye(len(root))
        means += np.einsum("njd,nd->nj", A, np.where(seen[:, None], u, 0.0))
        if integrate:
            covariances += A @ S @ np.swapaxes(A, 1, 2)
        G, D = factor.means.shape
        loadings.append(np.where(seen[:, None, None], A, 0.0))
        places.append(start + np.maximum(code, 0)[:, None] * D + np.arange(D))
        start += G * D
    if integrate and fitted.joint is not None:
        covariances += _between(fitted.joint, loadings, places)
    return Laws(means, covariances)


def _between(joint, loadings, places):
    """(n, J, J) what posterior covariances between factors add to those of the predictors."""
    total: Any = 0.0
    for l, m in itertools.combinations(range(len(places)), 2):
        cross = joint[places[l][:, :, None], places[m][:, None, :]]
        part = loadings[l] @ cross @ np.swapaxes(loadings[m], 1, 2)
        total = total + part + np.swapaxes(part, 1, 2)
    return total


def average(laws: Laws, function) -> np.ndarray:
    """E function(eta) over the laws, of arrays (n, ...)."""
    active = np.flatnonzero(np.einsum("njj->nj", laws.covariances).max(axis=0) > 0)
    C = roots(laws.covariances[:, active[:, None], active])
    nodes, weights = rule(len(active))
    total: Any = 0.0
    for node, weight in zip(nodes, weights, strict=True):
        eta = laws.means.copy()
        eta[:, active] += C @ node
        total = total + weight * function(eta)
    return total


def expert_means(fitted: Fitted, rows: Rows, eta) -> np.ndarray:
    """(n, K) means of the experts at given predictors, in units of y."""
    model, expert = fitted.model, fitted.model.expert
    mean = LINKS[expert.link_name].mean(eta[:, model.K :])
    if expert.scales_target:
        mean = mean * model.scaling.y_scale[0] + model.scaling.y_centre[0]
    return mean if rows.trials is None else mean * rows.trials[:, None]


def gate(fitted: Fitted, eta) -> np.ndarray:
    """(n, K) gate probabilities at given predictors."""
    return special.softmax(eta[:, : fitted.model.K], axis=1)


def spread(fitted: Fitted, rows: Rows, mean) -> np.ndarray:
    """(n, K) variances of the experts at given means."""
    model, dispersion = fitted.model, np.exp(fitted.params.log_dispersion)
    if model.expert.scales_target:
        dispersion = dispersion * model.scaling.y_scale[0]
    trials = None if rows.trials is None else rows.trials[:, None]
    return np.asarray(model.expert.variance(mean, trials, dispersion))


def joint_densities(fitted: Fitted, rows: Rows, laws: Laws) -> np.ndarray:
    """(n, K) E pi_k f_k(y), in the user's units of y."""
    model = fitted.model
    y = model.scaling.target(rows.y)
    trials = np.ones(rows.n) if rows.trials is None else rows.trials
    constant = model.expert.row_part(y, rows.trials) - np.log(model.scaling.y_scale).sum()

    def density(eta):
        unit = parts(fitted.row_family, eta, fitted.params.log_dispersion, y[:, 0], trials).unit
        log_gate = log_softmax(eta[:, : model.K])
        return np.exp(np.minimum(log_gate + unit.value + constant[:, None], 700.0))

    return average(laws, density)
