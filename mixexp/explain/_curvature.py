"""Derivatives of the rows' log-likelihoods at a fit, by central differences of the model itself.

They need nothing but `MoEModel.log_likelihood`, so that every gate and family has them.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from mixexp.em.rows import blocks
from mixexp.inference.coordinates import moving_directions

Floats = NDArray[np.float64]
STEP = 2e-3  # in the standardised coordinates; errors of second differences are near 1e-6


class Curvature(NamedTuple):
    """At the parameters of a fit, in d free coordinates (an orthonormal basis of the chart's).

    score (n, d) of each row; hessian (n, d, d) of each row; information (d, d) of the penalised
    objective times the sum of weights; basis (D, d) from free to packed coordinates; penalty (d,)
    gradient of the penalty per unit weight, and penalty_hessian (d, d).
    """

    score: Floats
    hessian: Floats
    information: Floats
    basis: Floats
    penalty: Floats
    penalty_hessian: Floats


def curvature(model: Any, params: Any, rows: Any, weight: Floats) -> Curvature:
    """Scores and Hessians of all rows, and the observed information.

    Parameters
    ----------
    model, params, rows : MoEModel, MoEParams, Rows
    weight : (n,)
    """
    point = model.pack(params)
    basis = moving_directions(model, params)

    def at(shift):
        return model.unpack(point + basis @ shift, params)

    def values(shift):
        own = at(shift)
        parts = [model.log_likelihood(own, rows.take(b)) for b in blocks(rows.n)]
        return np.concatenate(parts)

    score, hessian = _differences(values, basis.shape[1])
    penalty, penalty_hessian = _differences(
        lambda shift: np.atleast_1d(model.penalty(at(shift))), basis.shape[1]
    )
    total = weight.sum()
    information = total * penalty_hessian[0] - np.einsum("n,nab->ab", weight, hessian)
    return Curvature(score, hessian, information, basis, penalty[0], penalty_hessian[0])


def curvature_along(found: Curvature, V: Floats) -> Curvature:
    """The same in the coordinates of the orthonormal columns of V (d, d')."""
    return Curvature(
        found.score @ V,
        np.einsum("nab,ac,bd->ncd", found.hessian, V, V, optimize=True),
        V.T @ found.information @ V,
        found.basis @ V,
        V.T @ found.penalty,
        V.T @ found.penalty_hessian @ V,
    )


def _differences(function, d):
    """(n, d) first and (n, d, d) second central differences at zero."""
    centre = function(np.zeros(d))
    step = STEP * np.eye(d)
    up = np.stack([function(step[a]) for a in range(d)], axis=1)
    down = np.stack([function(-step[a]) for a in range(d)], axis=1)
    up2 = np.stack([function(2 * step[a]) for a in range(d)], axis=1)
    down2 = np.stack([function(-2 * step[a]) for a in range(d)], axis=1)
    first = (8 * (up - down) - (up2 - down2)) / (12 * STEP)
    second = np.empty((len(centre), d, d))
    for a in range(d):
        second[:, a, a] = (
            16 * (up[:, a] + down[:, a]) - (up2[:, a] + down2[:, a]) - 30 * centre
        ) / (12 * STEP**2)
        for b in range(a):
            both = function(step[a] + step[b]) + function(-step[a] - step[b])
            other = function(step[a] - step[b]) + function(step[b] - step[a])
            second[:, a, b] = second[:, b, a] = (both - other) / (4 * STEP**2)
    return first, second
