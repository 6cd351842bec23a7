"""A fitted regression of x on y turned into the regression of y on x, and the reverse."""

from __future__ import annotations

import numpy as np

from ..em.inverse import LinearGaussian, Reversed, reverse
from ..em.model import MoEModel
from ..em.params import MoEParams
from ..em.rows import Scaling
from ..experts import MultivariateGaussianExpert, MultivariateParams
from ..gates import GaussianGate, GaussianGateParams, LowRankGate, LowRankParams


def law_of(model, params, columns) -> LinearGaussian:
    """The classes of a fitted joint model in the user's units.

    Parameters
    ----------
    params : MoEParams in the user's units
    columns : int array
        Positions of the gate's columns among the experts' columns.
    """
    gate, expert = params
    covariance = model.gate.structure(gate.mean.shape[1]).matrices(gate.factor)
    structure = model.expert.structure(expert.coef.shape[1])
    residual = structure.matrices(expert.factor) if structure.dense else expert.factor**2
    coef, intercept = expert.coef[..., 1:][..., columns], expert.coef[..., 0]
    return LinearGaussian(gate.logit, gate.mean, covariance, coef, intercept, residual)


def forward_model(law: LinearGaussian, columns, p: int) -> tuple[MoEModel, MoEParams]:
    """The regression of v on u, where ``law`` is of v given... u: of x (v) given y (u).

    Parameters
    ----------
    columns : int array
        Which of the p columns of X the law is about.
    """
    found = reverse(law)
    gate, gate_params = _gate_of(law, found)
    coef = np.concatenate([found.intercept[..., None], found.coef], axis=-1)
    expert = MultivariateParams(coef, np.linalg.cholesky(found.residual))
    K, L = found.intercept.shape
    scaling = Scaling.identity(p, L)
    model = MoEModel(gate, MultivariateGaussianExpert(), K, columns, columns, scaling)
    return model, MoEParams(gate_params, expert)


def _gate_of(law, found: Reversed):
    """The law of x: low rank plus diagonal where the residuals are uncorrelated."""
    if law.residual.ndim == 2:
        scale = np.sqrt(law.residual)
        return LowRankGate(), LowRankParams(found.logit, found.mean, scale, found.loading)
    covariance = law.residual + found.loading @ np.swapaxes(found.loading, -1, -2)
    factor = np.linalg.cholesky(covariance)
    return GaussianGate(), GaussianGateParams(found.logit, found.mean, factor)


def inverse_means(law: LinearGaussian, y):
    """(n, d) E[u | v = y] under the joint model."""
    found = reverse(law)
    residual = law.residual
    if residual.ndim == 2:
        residual = residual[..., None] * np.eye(residual.shape[-1])
    covariance = residual + found.loading @ np.swapaxes(found.loading, -1, -2)
    gate = GaussianGateParams(found.logit, found.mean, np.linalg.cholesky(covariance))
    design = np.column_stack([np.ones(len(y)), y])
    prob = np.exp(GaussianGate().log_prob(gate, design))
    means = np.einsum("kde,ne->nkd", found.coef, y) + found.intercept
    return np.einsum("nk,nkd->nd", prob, means)
