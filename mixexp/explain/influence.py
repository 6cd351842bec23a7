"""Influence: what the fit would be without a row, by one Newton step."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.utils.validation import check_is_fitted

from mixexp.em.rows import blocks
from mixexp.em.status import Status
from mixexp.explain._curvature import curvature, curvature_along

Floats = NDArray[np.float64]
FLAT = 1e-6  # curvature per unit weight of a direction that the rows do not determine
LARGEST = 60  # coordinates, beyond which second differences take too long
ROWS = 2048  # at a time
STATIONARY = 1e-3  # gain per parameter that a Newton step may still promise, as for inference


@dataclass(frozen=True)
class Influence:
    """The fit without each of its rows, by one Newton step from the fit with all.

    Attributes
    ----------
    cook : ndarray of shape (n,)
        Generalised Cook's distance D_i' I D_i / d of the change D_i of the d free parameters, with
        the observed information I: about 1 is a move to the border of a confidence region.
    displacement : ndarray of shape (n,)
        Likelihood displacement 2 (L(theta) - L(theta_i)) of the penalised log-likelihood of all
        rows (Cook, 1986, Journal of the Royal Statistical Society B 48, 133-169).
    change : DataFrame of shape (n, number of parameters)
        Parameters without the row less those with it, in the user's units.
    coordinates : ndarray of shape (n, d)
        The change of the free parameters on the standardised scale.
    n_parameters : int
        d.
    n_held : int
        Flat directions that were held fixed: those along which a separated gate may grow.
    """

    cook: Floats
    displacement: Floats
    change: pd.DataFrame
    coordinates: Floats
    n_parameters: int
    n_held: int = 0

    def largest(self, size: int = 10) -> NDArray[np.intp]:
        """Positions of the rows of largest Cook's distance, the largest first."""
        return np.argsort(-self.cook, kind="stable")[:size]


def influence(model: Any, X: Any, y: Any, *, sample_weight: Any = None, **inputs: Any) -> Influence:
    """Influence of every row on the fit: Cook's distance, displacement and parameter change.

    Without row i the score at the fit is minus the row's own; one Newton step with the information
    of the other rows gives the change. Whether the step is exact enough shows a fit without
    the row that begins at the model (``start=model``).

    Parameters
    ----------
    model : fitted MoERegressor or MoEClassifier
    X : array-like of shape (n, p)
        The rows of the fit.
    y : array-like of shape (n,) or (n, m)
    sample_weight : array-like (n,) or None
        As in the fit; a row is left out with all of its weight.
    **inputs
        Row-wise inputs ``offset``, ``exposure``, ``trials``.

    Returns
    -------
    Influence

    Raises
    ------
    ValueError
        If the observed information is singular (experts that coincide, rows that are not those of
        the fit), the penalty is sparse, or there are more than 60 free parameters. Where the gate
        separates (`Status.SEPARATED`), flat directions are held fixed instead.
    """
    check_is_fitted(model)
    inner, params = model._model_, model._params_
    inner.check_without_prior("influence")
    inner.check_ungrouped("influence")
    rows = model._rows(X, y, **inputs)
    weight = np.ones(rows.n) if sample_weight is None else np.asarray(sample_weight, dtype=float)
    _check(inner, params, rows, weight)
    found = curvature(inner, params, rows, weight)
    separated = model.status_ is Status.SEPARATED
    found, n_held = _determined(found, FLAT * weight.sum(), separated)
    _check_stationary(found, weight)
    step = _steps(found, weight)
    cook = np.einsum("na,ab,nb->n", step, found.information, step) / step.shape[1]
    point = inner.pack(params)
    moved = [inner.unpack(point + found.basis @ own, params) for own in step]
    objective = _objective(inner, rows, weight)
    displacement = np.array([2 * (objective(params) - objective(own)) for own in moved])
    return Influence(cook, displacement, _changes(model, moved), step, step.shape[1], n_held)


def _check(inner, params, rows, weight):
    if inner.kinked is not None:
        raise ValueError(
            f"{inner.kinked.title} is not twice differentiable in its parameters: no Newton step "
            "says what a row does to the fit. Fit again without the row (start=model)."
        )
    if inner.sparse:
        raise ValueError(
            "influence follows parameters that move freely, and a sparse penalty holds some at "
            "zero: fit again on the support without it (see `relax`)."
        )
    if len(weight) != rows.n or not weight.min() >= 0:
        raise ValueError(f"sample_weight needs {rows.n} non-negative numbers, one per row.")
    free = inner.n_free(params)
    if free > LARGEST:
        raise ValueError(
            f"influence differences all pairs of parameters, at most {LARGEST}; the model has "
            f"{free}."
        )


def _determined(found, flat, separated):
    """The curvature along directions that the rows determine, and how many others were held."""
    size, vectors = np.linalg.eigh(found.information)
    keep = size > flat
    if keep.all():
        return found, 0
    if not separated or size[0] < -flat:
        raise ValueError(
            "influence needs a positive definite observed information; its smallest eigenvalue is "
            f"{size[0]:.2g}, and {flat:.2g} is needed. Are these the rows of the fit? Else use "
            "fewer experts, or a penalty on the gate."
        )
    return curvature_along(found, vectors[:, keep]), int(np.count_nonzero(~keep))


def _check_stationary(found, weight):
    """At a maximum on these rows a Newton step gains nothing."""
    score = weight @ (found.score - found.penalty)
    gain = 0.5 * float(score @ np.linalg.solve(found.information, score))
    if gain > STATIONARY * max(1, len(score)):
        raise ValueError(
            "influence needs the rows and weights of the fit: a step would raise the "
            f"log-likelihood of these by {gain:.3g}. Give all rows of the fit, or fit again if it "
            "had not converged."
        )


def _steps(found, weight):
    """(n, d) Newton steps: (I - I_i)^-1 times minus the row's own score."""
    score = weight[:, None] * (found.score - found.penalty)
    own = weight[:, None, None] * (found.penalty_hessian - found.hessian)
    out = np.empty_like(score)
    for block in blocks(len(weight), ROWS):
        others = found.information - own[block]
        # a row without which the information is not positive has no step to follow
        positive = np.linalg.eigvalsh(others)[:, 0] > 1e-9 * weight.sum()
        others = np.where(positive[:, None, None], others, found.information)
        solved = np.linalg.solve(others, -score[block][:, :, None])[:, :, 0]
        out[block] = np.where(positive[:, None], solved, np.nan)
    return out


def _objective(inner, rows, weight):
    """The penalised log-likelihood of all rows."""

    def value(params):
        total = sum(weight[b] @ inner.log_likelihood(params, rows.take(b)) for b in blocks(rows.n))
        return total - weight.sum() * float(inner.penalty(params))

    return value


def _changes(model, moved):
    """Named changes of the parameters in the user's units."""
    here = user_vector(model, model._params_)
    values = np.array([user_vector(model, params) - here for params in moved])
    return pd.DataFrame(values, columns=parameter_names(model))


def user_vector(model: Any, params: Any) -> Floats:
    """All parameters in the user's units, in the order of `parameter_names`."""
    leaves = [*_leaves(_in_user_units(model, params))]
    return np.concatenate([np.ravel(values) for _, _, values in leaves])


def _in_user_units(model, params):
    inner = model._model_
    p, m = len(inner.scaling.x_scale), len(inner.scaling.y_scale)
    identity = type(inner.scaling).identity(p, m)
    return inner._replace(scaling=identity).rescale(params, inner.scaling)


def _leaves(params):
    for part in params._fields:
        for field, values in getattr(params, part)._asdict().items():
            yield part, field, np.asarray(values)


def _head(part, k, labels):
    """Whose parameter it is: an expert, or a row of the gate."""
    named = labels[k] if k < len(labels) else f"expert {k}"
    own = named == f"expert {k}"
    return f"{part} {k}" if own else named if part == "expert" else f"{part} {named}"


def parameter_names(model: Any) -> list[str]:
    """Names such as "gate 1: E", "expert 0: (intercept)" and "expert 1: dispersion"."""
    columns = {
        "gate": ["(intercept)", *map(str, model.gate_feature_names_)],
        "expert": ["(intercept)", *map(str, model.expert_feature_names_)],
    }
    labels = model._expert_labels()
    names = []
    for part, field, values in _leaves(_in_user_units(model, model._params_)):
        for place in np.ndindex(values.shape):
            head = _head(part, place[0], labels) if place else part
            if field == "coef":
                inside = "".join(f"[{i}]" for i in place[1:-1] if values.ndim > 2)
                inside = "" if values.ndim == 3 and values.shape[1] == 1 else inside
                names.append(f"{head}: {columns[part][place[-1]]}{inside}")
            else:
                inside = "".join(f"[{i}]" for i in place[1:])
                inside = "" if values.ndim == 2 and values.shape[1] == 1 else inside
                names.append(f"{head}: {field}{inside}")
    return names
