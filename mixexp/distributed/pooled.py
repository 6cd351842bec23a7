"""Standard errors from information that was added up over partitions."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.utils.validation import check_is_fitted

from ..em.threads import single_threaded_blas
from ..inference import InferenceResult, NotRegularError
from ..inference.coordinates import coordinates
from ..inference.problem import Problem
from ..penalties import is_active
from .refine import positive_definite

KINDS = ("observed", "opg", "sandwich")


class RowsElsewhere:
    """In the place of rows that stay on their partitions; whatever asks for them is told so."""

    def __getattr__(self, name):
        if name.startswith("__"):  # copying and pickling ask for methods that are not there
            raise AttributeError(name)
        raise ValueError(
            "This needs the rows, which are on the partitions: only Wald tests, normal intervals "
            "and the delta method are available from pooled information."
        )


@single_threaded_blas()
def pooled_inference(model, covariance: str = "observed", *, reference: int = 0) -> InferenceResult:
    """Standard errors and Wald tests of a model that `refine` returned.

    The information is that of the last pass: at the model's own parameters after
    ``refine(..., step="none")``, else at those before the step, which is the same to the first
    order.

    Parameters
    ----------
    model : as `refine` returned it
    covariance : {"observed", "opg", "sandwich"}
        As for `MoERegressor.inference`.
    reference : int
        Expert that the gate's coefficients are relative to.

    Returns
    -------
    InferenceResult
        Without what needs rows: profiles, likelihood-ratio and score tests, margins.

    Raises
    ------
    NotRegularError
        With a penalty, or where the information is not positive definite.
    ValueError
        If the partitions returned no information.
    """
    check_is_fitted(model)
    found = getattr(model, "pooled_", None)
    if found is None:
        raise ValueError(
            "The model has no pooled information: call refine(model, statistics) with "
            "local_statistics(..., information=True) of every partition; or fit an aggregated "
            "estimator with refine_rounds=1."
        )
    if covariance not in KINDS:
        raise ValueError(f"covariance must be one of {KINDS}; got {covariance!r}.")
    inner, params = model._model_, model._params_
    if any(is_active(getattr(part, "penalty", None)) for part in (inner.gate, inner.expert)):
        raise NotRegularError(
            "A penalty biases the estimates towards zero, and standard errors from the information "
            "do not account for it."
        )
    names = list(map(str, model.gate_feature_names_)), list(map(str, model.expert_feature_names_))
    own = coordinates(inner, params, names, reference)
    rows: Any = RowsElsewhere()
    return InferenceResult(
        Problem(inner, params, rows, own),
        _covariance(found, own, covariance),
        covariance,
        float(model.loglik_),
        float(model.n_units_),
        ["The information was added up over the partitions."],
        [],
    )


def _covariance(found, own, kind):
    """(f, f), inverted along orthonormal directions of the standardised parameters."""
    basis, change = np.linalg.qr(own.basis)
    back = np.linalg.inv(change)
    bread = basis.T @ (found.outer if kind == "opg" else found.observed) @ basis
    if not positive_definite(bread):
        raise NotRegularError(
            "The pooled information is not positive definite: the data do not determine all "
            "parameters, or the model is too far from a maximum. Use fewer experts, or more rounds."
        )
    inside = np.linalg.inv(bread)
    if kind == "sandwich":
        inside = inside @ (basis.T @ found.squared @ basis) @ inside
    return back @ inside @ back.T
