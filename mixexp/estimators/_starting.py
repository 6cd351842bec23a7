"""Where a fit begins: searches, labels, responsibilities and fitted estimators."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from sklearn.utils.validation import check_is_fitted

from ..em.device import on_host
from ..em.params import MoEParams, take
from ..em.start import MultiStart
from ..em.starts.table import compact_means
from ._groups import group_means


class StartMixin:
    """What estimators do with ``start=`` and ``warm_start=``."""

    start: Any
    warm_start: bool
    _model_: Any
    _params_: MoEParams

    def _start(self, model, given_rows, rows, groups=None):
        """The start to search with (None: only the given parameters) and the given parameters.

        ``rows`` are the given ones as `compact` has them, which the parameters are made from.
        """
        if self.warm_start and hasattr(self, "_model_") and self._model_.K == model.K:
            return self._start_from(self, model)
        start = self.start
        if isinstance(start, str):
            if start != "default":
                raise ValueError(f"start={start!r} is unknown; use 'default' or MultiStart(...).")
            return MultiStart(), []
        if isinstance(start, MultiStart):
            return start, []
        if isinstance(start, StartMixin):
            return self._start_from(start, model)
        responsibilities = self._given_responsibilities(start, model.K, given_rows.n)
        if groups is not None:  # they are those of the rows as given
            responsibilities = group_means(responsibilities, given_rows, groups)
        responsibilities = compact_means(given_rows, responsibilities)
        given = model.from_responsibilities(on_host(rows), responsibilities[None])
        return None, [take(given, 0)]

    @staticmethod
    def _start_from(other, model):
        check_is_fitted(other)
        old = other._model_
        q_gate = len(model.gate_columns) + 1
        same = (
            len(old.scaling.x_scale) == len(model.scaling.x_scale)
            and len(old.scaling.y_scale) == len(model.scaling.y_scale)
            and np.array_equal(old.gate_columns, model.gate_columns)
            and np.array_equal(old.expert_columns, model.expert_columns)
            and type(old.expert) is type(model.expert)
            and type(getattr(old.expert, "family", None))
            is type(getattr(model.expert, "family", None))
            and getattr(old.expert, "link_name", None) == getattr(model.expert, "link_name", None)
            and old.n_classes == model.n_classes
            and same_shapes(other._params_.gate, model.gate.initial(old.K, q_gate))
        )
        if not same:
            raise ValueError(
                "start (or warm_start): the fitted model has other columns, responses, classes, "
                "gate, family or link."
            )
        if old.K > model.K:
            raise ValueError(
                f"start: the fitted model has {old.K} experts, more than n_experts={model.K}."
            )
        params = model.rescale(other._params_, old.scaling)
        search = other.start if isinstance(other.start, MultiStart) else MultiStart()
        return (None if old.K == model.K else search), [params]

    @staticmethod
    def _given_responsibilities(start, K, n):
        values = np.asarray(start)
        if values.ndim == 1 and len(values) == n:
            labels = values.astype(int)
            if np.any(labels != values) or labels.min() < 0 or labels.max() >= K:
                raise ValueError(f"start: labels must be integers 0..{K - 1}.")
            return np.eye(K)[labels]
        if values.shape != (n, K) or values.min() < 0 or not values.sum(axis=1).min() > 0:
            raise ValueError(
                f"start must be 'default', MultiStart(...), a fitted estimator, {n} labels, or "
                f"responsibilities of shape ({n}, {K}); got an array of shape {values.shape}."
            )
        return values / values.sum(axis=1, keepdims=True)


def same_shapes(one, other) -> bool:
    """Whether two parameter sets are of one type and shape."""
    return type(one) is type(other) and all(
        np.shape(a) == np.shape(b) for a, b in zip(one, other, strict=True)
    )


def starts_table(optima) -> pd.DataFrame:
    """One row per distinct optimum that the starts met, best first."""
    columns = ["loglik", "hits", "regular", "smallest_expert", "kinds", "best"]
    records = [
        {**{name: getattr(optimum, name) for name in columns}, "kinds": ", ".join(optimum.kinds)}
        for optimum in optima
    ]
    return pd.DataFrame(records, columns=columns)
