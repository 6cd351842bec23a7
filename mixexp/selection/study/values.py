"""Models and data of a study as plain values."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator

from mixexp.sources.aligned import count_rows, is_dask


def model_values(model: Any) -> dict[str, Any]:
    """Coefficients of a fitted model by name, for reading by other programs."""
    names = (
        "n_experts_",
        "loglik_",
        "n_free_",
        "n_units_",
        "intercept_",
        "coef_",
        "dispersion_",
        "gate_intercept_",
        "gate_coef_",
        "expert_feature_names_",
        "gate_feature_names_",
        "classes_",
    )
    values = {name.rstrip("_"): getattr(model, name, None) for name in names}
    return values | {"status": model.status_.name, "converged": bool(model.converged_)}


def describe_data(X: Any, y: Any, sample_weight: Any, groups: Any = None) -> dict[str, Any]:
    """Rows, columns, total weight of the rows, and the number of groups if there are any."""
    rows, columns = (count_rows(y), X.shape[1]) if is_dask(X) else np.shape(X)
    if is_dask(sample_weight):
        sample_weight = sample_weight.sum().compute()
    total = rows if sample_weight is None else float(np.sum(sample_weight))
    found = {"rows": int(rows), "columns": int(columns), "total_weight": total}
    return found if groups is None else found | {"groups": len(np.unique(groups))}


def plain(value: Any) -> Any:
    """Values that JSON knows: arrays become lists, NaN and infinities become null."""
    if isinstance(value, Mapping):
        return {str(key): plain(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [plain(entry) for entry in value]
    if isinstance(value, np.ndarray):
        return plain(value.tolist())
    if isinstance(value, bool | np.bool_):
        return bool(value)
    if isinstance(value, int | np.integer):
        return int(value)
    if isinstance(value, float | np.floating):
        return float(value) if np.isfinite(value) else None
    if value is None or isinstance(value, str):
        return value
    return " ".join(repr(value).split()) if isinstance(value, BaseEstimator) else str(value)
