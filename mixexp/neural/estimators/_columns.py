"""The columns of a table as arrays for a network: standardised numbers and codes of categories."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from sklearn.utils.validation import check_array, validate_data

from ..._validation import check_columns, refuse_dataset


class Table(NamedTuple):
    """A table that was read: numbers of shape (n, p), and categories as objects of shape (n, c)."""

    numeric: np.ndarray
    categories: np.ndarray

    def take(self, index: np.ndarray) -> Table:
        """The rows in ``index``."""
        return Table(self.numeric[index], self.categories[index])


class Columns(NamedTuple):
    """What is fixed about the columns by the training rows.

    Parameters
    ----------
    numeric, categorical : ndarray of int
        Positions in X.
    centre, scale : ndarray of shape (p,)
        Weighted mean and standard deviation of the numeric columns.
    vocabularies : list of lists
        Categories of each categorical column.
    shares : list of ndarrays
        Their shares of the weight.
    """

    numeric: np.ndarray
    categorical: np.ndarray
    centre: np.ndarray
    scale: np.ndarray
    vocabularies: list[list[Any]]
    shares: list[np.ndarray]

    def standardised(self, numeric: np.ndarray) -> np.ndarray:
        """Numeric columns with mean zero and unit variance over the training rows."""
        return (numeric - self.centre) / self.scale

    def codes(self, categories: np.ndarray) -> np.ndarray:
        """(n, c) positions in the vocabularies; -1 for what training did not see."""
        out = np.full(categories.shape, -1, dtype=np.int64)
        for j, words in enumerate(self.vocabularies):
            code = {word: i for i, word in enumerate(words)}
            out[:, j] = [code.get(value, -1) for value in categories[:, j].tolist()]
        return out


def read_table(estimator, X, chosen, *, fitted: Columns | None = None) -> tuple[Table, Any, Any]:
    """The table, and the positions of numeric and categorical columns.

    Parameters
    ----------
    estimator : estimator
        Gets ``n_features_in_`` and ``feature_names_in_``, or is held to them.
    X : array-like or data frame of shape (n, p)
    chosen : "auto", None, or columns by name, position or mask
        Categorical columns; "auto" takes the columns of a frame that hold no numbers.
    fitted : Columns, optional
        Those of the fitted estimator.
    """
    refuse_dataset(X, type(estimator).__name__)
    reset = fitted is None
    frame = X if isinstance(X, pd.DataFrame) else None
    if fitted is not None:
        categorical = fitted.categorical
    elif isinstance(chosen, str) and chosen == "auto":
        categorical = _without_numbers(frame)
    elif chosen is None:
        categorical = np.empty(0, dtype=int)
    else:
        shape = np.shape(X)
        names = None if frame is None else list(frame.columns)
        categorical = check_columns(chosen, names, shape[1], "categorical_features")
    if not len(categorical):
        try:
            numeric = validate_data(estimator, X, reset=reset, dtype=np.float64)
        except ValueError as error:
            _explain_text(error, reset)
            raise
        positions = np.arange(numeric.shape[1])
        return Table(numeric, np.empty((len(numeric), 0), dtype=object)), positions, categorical
    table, positions = _mixed(estimator, X, categorical, reset)
    return table, positions, categorical


def _mixed(estimator, X, categorical, reset) -> tuple[Table, np.ndarray]:
    """A table some of whose columns are categorical."""
    frame = X if isinstance(X, pd.DataFrame) else pd.DataFrame(np.asarray(X))
    # names and number of columns are held to those of the fit; the values are checked below
    validate_data(estimator, X, reset=reset, skip_check_array=True)
    if frame.shape[1] <= int(categorical.max()):
        raise ValueError(f"X has {frame.shape[1]} columns; column {categorical.max()} is needed.")
    positions = np.setdiff1d(np.arange(frame.shape[1]), categorical)
    numeric = np.empty((len(frame), 0))
    if len(positions):
        given = frame.iloc[:, positions]
        try:
            numeric = check_array(given, dtype=np.float64, input_name="X", estimator=estimator)
        except ValueError as error:
            _explain_text(error, reset)
            raise
    columns = [_plain(frame.iloc[:, j]) for j in categorical]
    categories = np.empty((len(frame), len(columns)), dtype=object)
    for j, column in enumerate(columns):
        categories[:, j] = column
    return Table(numeric, categories), positions


def _explain_text(error: ValueError, first: bool) -> None:
    """Say what to do about a text in a column that is taken for numbers."""
    text = str(error).partition("could not convert string to float: ")[2]
    if not text:
        return
    way = (
        "Name such columns in categorical_features=, or give a data frame, whose texts "
        'categorical_features="auto" finds.'
        if first
        else "In the fit this column held numbers."
    )
    raise ValueError(f"X holds the text {text} in a column of numbers. {way}") from None


def _without_numbers(frame: pd.DataFrame | None) -> np.ndarray:
    """Positions of the columns of a frame that hold texts or categories."""
    if frame is None:
        return np.empty(0, dtype=int)
    found = []
    for j, kind in enumerate(frame.dtypes):
        if getattr(kind, "kind", "O") in "mM":
            raise ValueError(
                f"column {frame.columns[j]!r} holds dates or times. Make numbers of them, such as "
                "the days since a date."
            )
        if isinstance(kind, pd.CategoricalDtype) or pd.api.types.is_string_dtype(kind):
            found.append(j)
        elif kind.kind == "O" and pd.api.types.infer_dtype(frame.iloc[:, j]) == "mixed":
            found.append(j)
    return np.array(found, dtype=int)


MISSING = "<missing>"


def _plain(column: pd.Series) -> list:
    """Values as plain Python objects; a missing one is the category `MISSING`."""
    values = column.astype(object)
    values = values.where(~values.isna(), MISSING)
    return [value.item() if isinstance(value, np.generic) else value for value in values]


def provisional_codes(categories: np.ndarray) -> np.ndarray:
    """(n, c) numbers that tell categories apart, whatever the order of the rows."""
    codes = np.empty(categories.shape, dtype=np.int64)
    for j, column in enumerate(categories.T):
        code = {word: i for i, word in enumerate(_vocabulary(column.tolist()))}
        codes[:, j] = [code[value] for value in column.tolist()]
    return codes


def fit_columns(table: Table, weight: np.ndarray, positions, categorical) -> Columns:
    """Weighted means, standard deviations and vocabularies of rows of positive weight."""
    centre, scale, flat = moments(table.numeric, weight)
    # a constant column is left at zero, but for rounding
    scale = np.where(flat, np.maximum(np.abs(centre), 1.0), scale)
    vocabularies = [_vocabulary(column.tolist()) for column in table.categories.T]
    columns = Columns(positions, categorical, centre, scale, vocabularies, [])
    codes = columns.codes(table.categories)
    shares = [
        np.bincount(code, weights=weight, minlength=len(words)) / weight.sum()
        for code, words in zip(codes.T, vocabularies, strict=True)
    ]
    return columns._replace(shares=shares)


def moments(values: np.ndarray, weight: np.ndarray) -> tuple[np.ndarray, ...]:
    """Weighted means, standard deviations, and which columns are constant but for rounding."""
    total = weight.sum()
    centre = weight @ values / total
    scale = np.sqrt(weight @ (values - centre) ** 2 / total)
    return centre, scale, scale <= 1e-12 * np.maximum(np.abs(centre), np.finfo(float).tiny)


def _vocabulary(values: list) -> list:
    """Distinct categories in an order of their own."""
    return sorted(set(values), key=_sort_key)


def _sort_key(value) -> tuple[str, Any]:
    """Order of categories: by kind, then value; values of other kinds by their text."""
    if isinstance(value, (bool, int, float)):
        return ("", float(value))
    return (type(value).__name__, str(value))
