"""Standard errors after a choice of columns: chosen on some rows, estimated on the others."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn.base import clone
from sklearn.utils import _safe_indexing

from ..inference import InferenceResult


@dataclass(frozen=True)
class SplitInference:
    """What sample splitting gives.

    Attributes
    ----------
    result : InferenceResult
        Of the refit without penalties, on rows that had no part in the choice.
    estimator : fitted estimator
        The refit.
    gate_features, expert_features : list
        Columns that the penalised fit uses in any expert.
    chosen_on, estimated_on : ndarray of int
        Positions of the rows.
    """

    result: InferenceResult
    estimator: Any
    gate_features: list
    expert_features: list
    chosen_on: np.ndarray
    estimated_on: np.ndarray


def split_inference(
    penalised: Any,
    X: Any,
    y: Any,
    *,
    share: float = 0.5,
    random_state: int = 0,
    covariance: str = "observed",
    **inputs: Any,
) -> SplitInference:
    """Valid standard errors for the columns that a sparse penalty chooses.

    The rows are divided at random. The penalised estimator is fitted to one part; the columns
    that it uses are those of an unpenalised fit to the other, whose standard errors do not know
    of the choice. They are right for the chosen model (its parameters are those of the best
    mixture with these columns), given that rows are independent and the refit is regular; they
    say nothing of columns that were left out, and the halves cost precision (Wasserman and
    Roeder, 2009, "High-dimensional variable selection", Ann. Statist. 37, 2178-2201).

    Parameters
    ----------
    penalised : MoERegressor
        With sparse penalties on gate, experts or both; or `LassoMoERegressorCV`.
    X, y : the rows
    share : float, default=0.5
        Part of the rows on which columns are chosen.
    random_state : int
    covariance : str
        As in ``inference``.
    **inputs
        Row-wise ``offset``, ``exposure``, ``trials``, and ``groups``, which are divided whole.

    Returns
    -------
    SplitInference
    """
    if not 0 < share < 1:
        raise ValueError(f"share must lie strictly between 0 and 1; got {share!r}.")
    # groups of rows that share one expert stay together
    groups = inputs.get("groups")
    unit = np.arange(len(y)) if groups is None else np.unique(groups, return_inverse=True)[1]
    n = int(unit.max()) + 1
    order = np.random.default_rng(random_state).permutation(n)
    chosen_units = np.isin(unit.ravel(), order[: round(share * n)])
    first, second = np.flatnonzero(chosen_units), np.flatnonzero(~chosen_units)
    chosen = clone(penalised).fit(*_rows((X, y), first), **_some(inputs, first))
    gate, experts = _used(chosen)
    refit = _plain(chosen, gate, experts)
    own = _rows((X, y), second)
    given = _some(inputs, second)
    refit.fit(*own, **given)
    result = refit.inference(*own, covariance=covariance, **given)
    return SplitInference(result, refit, gate, experts, first, second)


def _rows(arrays, index):
    return tuple(_safe_indexing(array, index) for array in arrays)


def _some(inputs, index):
    return {
        name: values if values is None or np.ndim(values) == 0 else _safe_indexing(values, index)
        for name, values in inputs.items()
    }


def _used(fitted):
    """Columns with a slope that is not zero in any expert: of the gate, and of the experts."""
    gate = np.any(np.abs(fitted.gate_coef_) > 0, axis=0)
    coef = np.asarray(fitted.coef_)
    experts = np.any(np.abs(coef) > 0, axis=tuple(range(coef.ndim - 1)))
    return _listed(fitted, fitted.gate_feature_names_, gate), _listed(
        fitted, fitted.expert_feature_names_, experts
    )


def _listed(fitted, names, used):
    """Names of the columns where X had any, else their positions."""
    kept = np.asarray(names)[used].tolist()
    if hasattr(fitted, "feature_names_in_"):
        return kept
    return [int(str(name)[1:]) for name in kept]


def _plain(fitted, gate, experts):
    """An unpenalised estimator of the chosen columns."""
    from ..estimators import MoERegressor

    model = fitted._model_
    parts = [
        clone(part).set_params(**_without_penalty(part)) for part in (model.gate, model.expert)
    ]
    return MoERegressor(
        model.K,
        gate=parts[0],
        expert=parts[1],
        gate_features=gate,
        expert_features=experts,
    )


def _without_penalty(part):
    settings = part.get_params(deep=False)
    plain: dict = {name: None for name in ("penalty", "ridge") if name in settings}
    if "scale_free" in settings:
        plain["scale_free"] = False
    return plain
