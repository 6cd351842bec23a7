"""An estimator and its rows as a `TableModel` and its table, so that both are shown by one code."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from sklearn.utils.validation import check_is_fitted

from mixexp.tables.model import TableModel
from mixexp.tables.preprocess import Column, TablePreprocessor
from mixexp.tables.reading import did_you_mean


class Numbers(TablePreprocessor):
    """Numeric columns as they are."""

    named = True

    def transform(self, table):
        X = table[self.feature_names].astype(np.float64)
        return X if self.named else X.to_numpy()


class Unnamed(Numbers):
    """The same for an estimator that was fitted to arrays."""

    named = False


def as_table_model(
    model: Any, X: Any, names: Sequence[str] = ()
) -> tuple[TableModel, pd.DataFrame]:
    """A `TableModel` and its raw table, as they are or of an estimator and its rows.

    Raises
    ------
    TypeError
        For what is neither.
    ValueError
        For an estimator that is not fitted or has several targets, rows in a dataset or of other
        columns, and names that no column has.
    """
    if not isinstance(model, TableModel):
        model, X = _of_estimator(model, X)
    known = [column.name for column in model.preprocessor.columns]
    for name in names:
        if name not in known:
            near = did_you_mean(str(name), known) or f"; there are {', '.join(map(repr, known))}"
            raise ValueError(f"the model has no column {name!r}{near}.")
    return model, X


def _of_estimator(model: Any, X: Any) -> tuple[TableModel, pd.DataFrame]:
    if not hasattr(model, "gate_proba") or not hasattr(model, "responsibilities"):
        raise TypeError(
            "a fitted MoERegressor, MoEClassifier or TableModel is needed; got "
            f"{type(model).__name__}."
        )
    check_is_fitted(model)
    if getattr(model, "_n_outputs", 0):
        raise ValueError("what is shown is of one target; this model has a matrix of them.")
    numbers = model._rows(X).X  # refuses what cannot be rows of the fit
    numbers = numbers.toarray() if hasattr(numbers, "toarray") else numbers
    names = getattr(model, "feature_names_in_", None)
    plain = [f"x{j}" for j in range(model.n_features_in_)]
    table = pd.DataFrame(numbers, columns=plain if names is None else list(names))
    kind = Unnamed if names is None else Numbers
    columns = tuple(Column(str(name), "numeric") for name in table.columns)
    return TableModel(model, kind(columns), "y"), table
