"""An estimator and its rows as a `TableModel` and its table, so that both are shown by one code."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from mixexp.explain._checks import check_rowwise
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
        For a `TableModel` without a data frame.
    ValueError
        For an estimator of another kind, not fitted or of a matrix of targets, rows in a dataset or
        of other columns, and names that no column has.
    """
    if not isinstance(model, TableModel):
        model, X = _of_estimator(model, X)
    elif not isinstance(X, pd.DataFrame):
        raise TypeError(f"a TableModel needs a data frame of raw columns; got {type(X).__name__}.")
    known = [column.name for column in model.preprocessor.columns]
    for name in names:
        if name not in known:
            near = did_you_mean(str(name), known) or f"; there are {', '.join(map(repr, known))}."
            raise ValueError(f"the model has no column {name!r}{near}")
    return model, X


def _of_estimator(model: Any, X: Any) -> tuple[TableModel, pd.DataFrame]:
    check_rowwise(
        model, "a picture of a fit", "Others predict along a grid of rows: model.predict."
    )
    if getattr(model, "_n_outputs", 0):
        raise ValueError(
            "what is shown is of a target of shape (n,); this model was fitted to a matrix."
        )
    numbers = model._rows(X).X  # refuses what cannot be rows of the fit
    numbers = numbers.toarray() if hasattr(numbers, "toarray") else numbers
    names = getattr(model, "feature_names_in_", None)
    plain = [f"x{j}" for j in range(model.n_features_in_)]
    table = pd.DataFrame(numbers, columns=plain if names is None else list(names))
    kind = Unnamed if names is None else Numbers
    columns = tuple(Column(str(name), "numeric") for name in table.columns)
    return TableModel(model, kind(columns), "y"), table
