"""The marginal likelihood by adaptive quadrature, for one factor with few effects per group.

The integral over the effects u of a group is a sum over nodes m + C e, with e and their weights a
rule for the standard normal law, and m, C the mean and a root of the covariance of the posterior
(Naylor and Smith, 1982, Applied Statistics 31, 214-225). Nodes stay where they are while parameters
move, so that value and gradient belong to one smooth function; between runs of the optimiser they
follow.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from .determinant import determinant
from .mixture import row_scores, row_values
from .nodes import roots, rule
from .posterior import View, highest_mode, mode

ADAPTATIONS = 3  # rounds of moments that settle the nodes after the mode gave the first ones
SPREAD = 1.15  # of a net of points, relative to the posterior: its tails must be covered
NET_FROM = 5  # dimensions from which the rule is such a net


class Nodes(NamedTuple):
    """effects (Q, G, D) and logs (Q, G): the logarithm of every node's weight, which includes the
    prior density."""

    effects: np.ndarray
    logs: np.ndarray


class Integral(NamedTuple):
    """value: the marginal log-likelihood less the rows' own parts; shares (Q, G): posterior
    probabilities of the nodes; means (G, D) and covariances (G, D, D) of the effects."""

    value: float
    shares: np.ndarray
    means: np.ndarray
    covariances: np.ndarray


def check_quadrature(n_factors: int) -> None:
    """Refuse several factors: their effects share rows, so the integral does not fall apart."""
    if n_factors > 1:
        raise ValueError(
            f"approximation='quadrature' integrates group by group and takes one factor; groups "
            f"has {n_factors} with random effects. Use 'variational' or 'laplace'."
        )


def place(view: View, means, covariances) -> Nodes:
    """Nodes around the given means with the given covariances."""
    D = means.shape[1]
    C = roots(covariances)
    e, weights = rule(D)
    if D >= NET_FROM:
        C = SPREAD * C
    effects = means[None] + np.einsum("gab,qb->qga", C, e)
    log_root = np.log(np.maximum(np.einsum("gdd->gd", C), 1e-300)).sum(axis=1)
    ratio = 0.5 * (e**2).sum(axis=1)[:, None] - 0.5 * (effects**2).sum(axis=2)
    return Nodes(effects, np.log(weights)[:, None] + ratio + log_root[None, :])


def adapted(view: View, means) -> Nodes:
    """Nodes that follow the posterior at the view's parameters; ``means`` start the mode."""
    problem = view.problem
    best, _ = highest_mode(view, means)
    law = mode(view, best)
    terms = law.terms
    found = determinant(problem, view.loadings, terms.information, terms.complete)
    nodes = place(view, law.means[0], found.covariances[0])
    for _ in range(ADAPTATIONS):
        result = integrate(view, nodes)
        nodes = place(view, result.means, result.covariances)
    return nodes


def integrate(view: View, nodes: Nodes) -> Integral:
    """Value and posterior moments."""
    problem, params = view.problem, view.params
    joint = nodes.logs.copy()
    for q, u in enumerate(nodes.effects):
        rows = row_values(
            problem.family, view.predictors((u,)), params.log_dispersion, problem.y, problem.trials
        )
        joint[q] += np.bincount(problem.codes[0], rows, joint.shape[1])
    top = joint.max(axis=0)
    shares = np.exp(joint - top)
    total = shares.sum(axis=0)
    shares /= total
    means = np.einsum("qg,qgd->gd", shares, nodes.effects)
    away = nodes.effects - means
    covariances = np.einsum("qg,qga,qgb->gab", shares, away, away, optimize=True)
    return Integral(float((top + np.log(total)).sum()), shares, means, covariances)


def slopes(view: View, nodes: Nodes, shares):
    """Posterior averages of the derivatives: by the predictors (n, J), by the log dispersions (K,)
    and by the root (D, D)."""
    problem, params = view.problem, view.params
    B, code = problem.designs[0], problem.codes[0]
    by_eta, by_p = np.zeros((problem.n, B.shape[1])), np.zeros(problem.K)
    by_root = np.zeros(params.roots[0].shape)
    for share, u in zip(shares, nodes.effects, strict=True):
        weight = share[code][:, None]
        score, score_p = row_scores(
            problem.family, view.predictors((u,)), params.log_dispersion, problem.y, problem.trials
        )
        score *= weight
        by_eta += score
        by_p += (weight * score_p).sum(axis=0)
        # sum_i B_i' score_i u': by group first, where the effects are
        gathered = problem.indicators[0] @ np.einsum("njd,nj->nd", B, score)
        by_root += np.asarray(gathered).T @ u
    return by_eta, by_p, by_root
