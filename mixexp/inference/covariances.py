"""Covariances of the reported parameters: observed information, outer products, sandwiches."""

from __future__ import annotations

import numpy as np

from .information import cluster_outer, row_scores
from .problem import Local, Problem

SINGULAR = 1e-9  # of a scaled information's eigenvalue, below which a direction is not determined

KINDS = ("observed", "opg", "sandwich", "cluster", "density", "bootstrap")


class NotRegularError(ValueError):
    """Standard errors do not exist at this fit; the message says why, and what is still valid."""


def covariance(problem: Problem, local: Local, kind: str, groups, back):
    """(f, f) covariance along the basis of the problem's coordinates.

    ``back`` (f, f) leads from there to the reported parameters, which errors name.
    """
    names = problem.coordinates.names
    if kind == "opg":
        return _inverse(local.outer, names, back)
    bread = _inverse(local.observed, names, back)
    if kind == "observed":
        return bread
    if kind in ("sandwich", "density"):
        return bread @ local.squared @ bread
    scores = row_scores(problem.model, problem.params, problem.rows) @ problem.coordinates.basis
    weight = problem.rows.unit_weight
    meat, count = cluster_outer(scores, weight, groups)
    if count < 2:
        raise ValueError(f"covariance='cluster' needs at least two groups; got {count}.")
    return bread @ meat @ bread * (count / (count - 1))


def _inverse(information, names, back):
    """The inverse, or an error that names the parameters that the data do not determine."""
    scale = np.sqrt(np.maximum(np.abs(np.diag(information)), 1e-300))
    values, vectors = np.linalg.eigh(information / np.outer(scale, scale))
    if values[0] <= SINGULAR * values[-1]:
        # a direction's part in a parameter, in what the information alone says of that one
        size = np.linalg.norm(np.linalg.inv(back).T * scale, axis=1)
        weak = np.abs(back @ (vectors[:, 0] / scale)) * size
        order = np.argsort(-weak)
        named = [names[i] for i in order if weak[i] > 0.3 * weak.max()][:5]
        kind = "singular" if abs(values[0]) <= SINGULAR * values[-1] else "not positive definite"
        raise NotRegularError(
            f"The information is {kind}: the data do not determine {', '.join(named)}. Standard "
            "errors from it do not exist. Use fewer experts or columns, hold parameters fixed with "
            "hold=[...], or use covariance='bootstrap' or profile intervals."
        )
    inverse = vectors / values @ vectors.T
    return inverse / np.outer(scale, scale)
