"""Leverage: how much a row's own target pulls the fit of each expert at that row."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.utils.validation import check_is_fitted

from mixexp.em.rows import blocks
from mixexp.explain._priors import PRIORS

Floats = NDArray[np.float64]
ROWS = 1024  # at a time


@dataclass(frozen=True)
class Leverage:
    """Weighted hat values inside the experts.

    Attributes
    ----------
    hat : ndarray of shape (n, K)
        h_ik = tr(G_k^-1 G_ik) with G_ik the information of row i on the coefficients of expert k,
        weighted by its responsibility, and G_k their sum (penalty excluded). For one coefficient
        vector per expert this is w r v x' (X' W X)^-1 x, the diagonal of the hat matrix of its
        weighted regression.
    n_coefficients : ndarray of shape (K,)
        Sum of the hat values of each expert: its number of coefficients, or their rank.
    high : ndarray of bool of shape (n, K)
        Beyond three times the mean, with the mean over the expert's effective rows.
    experts : DataFrame
        One row per expert, by its name (a context's own): effective rows, coefficients, largest
        hat value and its row.
    """

    hat: Floats
    n_coefficients: Floats
    high: NDArray[np.bool_]
    experts: pd.DataFrame


def leverage(model: Any, X: Any, y: Any, *, sample_weight: Any = None, **inputs: Any) -> Leverage:
    """Hat values of every row within each expert's weighted regression.

    Parameters
    ----------
    model : fitted MoERegressor
    X : array-like of shape (n, p)
        The rows of the fit.
    y : array-like of shape (n,) or (n, m)
    sample_weight : array-like (n,) or None
        As in the fit.
    **inputs
        Row-wise inputs ``offset``, ``exposure``, ``trials``, and ``expert_prior`` of a fit that
        had one (``possibilities`` of contexts).

    Returns
    -------
    Leverage

    Raises
    ------
    ValueError
        For classes and families in several predictors, whose experts are no weighted regressions
        of one response; for a fit with a prior on the rows' experts where that is not given.
    """
    check_is_fitted(model)
    if hasattr(model, "classes_"):
        raise ValueError("leverage is for regression families; a MoEClassifier has none.")
    inner, params = model._model_, model._params_
    inner.check_ungrouped("leverage")
    if inner.expert.keeps_rows:
        raise ValueError(
            f"leverage is for experts fitted by weighted least squares; {inner.expert.title} is "
            "not. Its diagnostics are residuals and the bootstrap."
        )
    resp = model.responsibilities(X, y, **inputs)
    known = [name for name in PRIORS if inputs.pop(name, None) is not None]
    if inner.prior_likelihood is not None and not known:
        raise ValueError(
            "leverage weights rows by their responsibilities in the fit, which had an "
            "expert_prior=: give it here too (possibilities= of a ContextualMoERegressor)."
        )
    rows = model._rows(X, y, **inputs)
    weight = np.ones(rows.n) if sample_weight is None else np.asarray(sample_weight, dtype=float)
    resp = resp * weight[:, None]
    total = _information(inner, params, rows, resp, weight)
    inverse = np.linalg.pinv(total, hermitian=True)
    hat = np.empty(resp.shape)
    for i in range(rows.n):
        one = slice(i, i + 1)
        own = _information(inner, params, rows.take(one), resp[one], weight[one])
        product = np.einsum("...ab,...ba->...", inverse, own)
        hat[i] = product.reshape(len(product), -1).sum(axis=1)
    sizes, mass = hat.sum(axis=0), resp.sum(axis=0)
    high = hat > 3 * sizes / np.maximum(mass, 1e-300)
    table = pd.DataFrame(
        {
            "effective rows": mass, "coefficients": sizes, "largest": hat.max(axis=0),
            "row": hat.argmax(axis=0),
        },
        index=pd.Index(model._expert_labels()),
    )  # fmt: skip
    return Leverage(hat, sizes, high, table)


def _information(inner, params, rows, resp, weight):
    """(K, ..., q, q) information on the experts' coefficients of a block of rows."""
    total = None
    y, offset = inner.scaling.target(rows.y), inner.scaled_offset(rows)
    for block in blocks(rows.n, ROWS):
        X = inner.expert_design(rows.X[block])
        stats = inner.expert.statistics(
            params.expert, X, y[block], resp[block], weight[block],
            None if offset is None else offset[block],
            None if rows.trials is None else rows.trials[block],
        )  # fmt: skip
        if not hasattr(stats, "gram"):
            raise ValueError(
                "leverage needs experts that are weighted regressions, such as GaussianExpert or "
                f"PoissonExpert; {type(inner.expert).__name__} has no hat values. See influence."
            )
        total = stats.gram if total is None else total + stats.gram
    return total
