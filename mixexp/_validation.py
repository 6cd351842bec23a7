"""The only place where a user's input is coerced."""

from __future__ import annotations

import numbers
from collections.abc import Sequence

import numpy as np
import pandas as pd
from sklearn.utils.validation import _check_sample_weight, check_array, validate_data

from .em.device import ENTRIES, DeviceMatrix, on_device, to_host
from .sources.elsewhere import held_elsewhere

_INSTEAD = {
    "dask": "Compute a sample of its rows.",
    "path": "A fitted estimator goes through files by predict_blocks(FileDataset(path), method).",
    "source": "A fitted estimator goes through its blocks by predict_blocks(dataset, method) and "
    "predict_to(dataset, path, method).",
}


def refuse_dataset(X, what: str):
    """Refuse a path, a dataset of blocks or a Dask collection, where rows are needed in memory."""
    found = held_elsewhere(X)
    if found is not None:
        raise ValueError(f"{what} needs rows in memory; got {found.name}. {_INSTEAD[found.kind]}")


def check_X_y(estimator, X, y, *, multi_output, numeric):
    """Validated X (float32 or float64, any layout, or CSR) and y as given by the user.

    X on a device stays there, as a `DeviceMatrix`.
    """
    refuse_dataset(X, type(estimator).__name__)
    if isinstance(X, DeviceMatrix):
        _check_on_device(X)
        # what is checked of y and counted of the rows needs no columns
        stand_in = np.broadcast_to(np.zeros(1), (len(X), 1))
        settings = {"multi_output": multi_output, "numeric": numeric}
        _, y = check_X_y(estimator, stand_in, to_host(y), **settings)
        estimator.n_features_in_ = X.shape[1]
        return X, y
    if on_device(X):
        raise ValueError(
            f"{type(estimator).__name__} needs X on the host; got an array on a CUDA device: "
            "bring X to the host by cupy.asnumpy(X)."
        )
    _refuse_dates(X)
    if numeric:
        refuse_text(y)
    else:
        refuse_missing(y)
    try:
        return validate_data(
            estimator,
            X,
            y,
            accept_sparse="csr",
            dtype=[np.float64, np.float32],
            multi_output=multi_output,
            y_numeric=numeric,
        )
    except ValueError as error:
        _explain_text(error, X)
        raise


def check_X(estimator, X):
    """Validated X for a fitted estimator, on the host."""
    refuse_dataset(X, "This method")
    X = to_host(X)
    _refuse_dates(X)
    try:
        return validate_data(
            estimator, X, accept_sparse="csr", dtype=[np.float64, np.float32], reset=False
        )
    except ValueError as error:
        _explain_text(error, X)
        raise


def _check_on_device(X):
    """Refuse missing values and infinities, which one reading on the device finds."""
    xp, step = X.xp, max(1, ENTRIES // X.shape[1])
    with X.device:
        for start in range(0, len(X), step):
            finite = xp.isfinite(X.block(slice(start, start + step))).all()
            if not bool(xp.asnumpy(finite)):
                raise ValueError(
                    "X on the device contains NaN or infinity. Fill missing values in, or leave "
                    "these rows out."
                )


def refuse_text(y, classifier="MoEClassifier"):
    """Targets that are texts and no numbers written as text; ``classifier`` takes them."""
    array = np.asarray(y)
    if array.dtype.kind not in "USO":
        return
    for value in array.ravel():
        try:
            float(value)
        except (TypeError, ValueError):
            if isinstance(value, str):
                raise ValueError(
                    f"y must be numbers; got the text {str(value)!r}. For classes use {classifier}."
                ) from None
            return


def _refuse_dates(X):
    """Columns of a frame that hold dates or differences of dates, which have no unit."""
    columns = getattr(X, "columns", None)
    if columns is None or not hasattr(X, "dtypes"):
        return
    kinds = zip(columns, X.dtypes, strict=True)
    names = [str(name) for name, kind in kinds if getattr(kind, "kind", "O") in "mM"]
    if names:
        raise ValueError(
            f"X must be numbers; the columns {names} hold dates or times. Make numbers of them, "
            "such as the days since a date."
        )


def _place_in_memory(row):
    return f"row {row} (counted from 0)"


def refuse_missing(y, place_of=_place_in_memory):
    """Labels that are missing (None, NaN, pandas.NA); ``place_of(row)`` says where a row is."""
    labels = np.asarray(y)
    missing = pd.isna(labels) if labels.ndim == 1 else np.zeros(0, dtype=bool)
    if missing.any():
        first = int(np.argmax(missing))
        raise ValueError(
            f"Input y contains NaN: {int(missing.sum())} labels are missing, the first in "
            f"{place_of(first)}. Leave these rows out, or give what is missing a label."
        )


def _explain_text(error, X):
    """Name the columns of a frame where texts are the cause of an error."""
    columns = getattr(X, "columns", None)
    if columns is None or "could not convert string" not in str(error):
        return
    names = [str(name) for name, kind in zip(columns, X.dtypes, strict=True) if not _number(kind)]
    raise ValueError(
        f"X must be numbers; the columns {names} hold texts. Encode them (OneHotEncoder), or "
        "write a formula, which does: mixexp.moe('y ~ C(column) + x', data)."
    ) from None


def _number(kind):
    return getattr(kind, "kind", "O") in "biuf"


def seed_of(random_state) -> int:
    """An integer seed; None is 0, so that a fit is reproducible unless asked otherwise."""
    if random_state is None:
        return 0
    if isinstance(random_state, np.random.RandomState):
        return int(random_state.randint(2**31 - 1))
    if isinstance(random_state, np.random.Generator):
        return int(random_state.integers(2**31 - 1))
    if not isinstance(random_state, numbers.Integral):
        raise ValueError(
            "random_state must be None, a whole number, a Generator or a RandomState; got "
            f"{random_state!r}."
        )
    return int(random_state)


def check_weight(sample_weight, X):
    """(n,) float64 weights or None; negative, missing or all-zero weights are refused."""
    if sample_weight is None:
        return None
    sample_weight = to_host(sample_weight)
    X = np.empty((len(X), 0)) if isinstance(X, DeviceMatrix) else X
    weight = _check_sample_weight(
        sample_weight, X, dtype=np.float64, ensure_non_negative=True, copy=False
    )
    if not weight.sum() > 0:
        raise ValueError("sample_weight sums to zero: at least one weight must be positive.")
    return weight


def check_row_input(values, name, n, *, positive=False, whole=False):
    """(n,) float64 row-wise input such as an offset, an exposure or the trials."""
    if values is None:
        return None
    values = to_host(values)
    if np.ndim(values) == 0:
        values = np.full(n, values)
    values = check_array(values, ensure_2d=False, dtype=np.float64, input_name=name).ravel()
    if len(values) != n:
        raise ValueError(f"{name} needs one value per row: got {len(values)} for {n} rows.")
    if positive and not values.min() > 0:
        raise ValueError(f"{name} must be positive; got {values.min():g}.")
    if whole and (values.min() < 0 or np.any(values != np.floor(values))):
        raise ValueError(f"{name} must be whole numbers of at least 0.")
    return values


def row_inputs(expert, n, *, offset=None, exposure=None, trials=None):
    """Offset and trials of the rows; an exposure becomes the offset log(exposure).

    Raises
    ------
    ValueError
        If the family does not take an input that was given.
    """
    given = {"offset": offset, "exposure": exposure, "trials": trials}
    for name, values in given.items():
        if values is not None and name not in expert.takes:
            takes = " and ".join(f"{other}=" for other in expert.takes)
            raise ValueError(
                f"{type(expert).__name__} takes no {name}=" + (f", only {takes}." if takes else ".")
            )
    offset = check_row_input(offset, "offset", n)
    exposure = check_row_input(exposure, "exposure", n, positive=True)
    if exposure is not None:
        if expert.link_name != "log":
            raise ValueError(
                f"exposure= needs link='log' (it enters as log(exposure)); "
                f"{type(expert).__name__} has link={expert.link_name!r}."
            )
        offset = np.log(exposure) if offset is None else offset + np.log(exposure)
    return offset, check_row_input(trials, "trials", n, whole=True)


PRIOR_LIKELIHOODS = ("conditional", "evidential")


def check_expert_prior(values, n, K, likelihood, weight):
    """(n, K) weights with a maximum of one in every row, or None where no row says anything.

    Raises
    ------
    ValueError
        As `check_weights_of_experts`, for an unknown likelihood, or where the rows leave a
        conditional gate undetermined.
    """
    if likelihood not in PRIOR_LIKELIHOODS:
        raise ValueError(
            f"prior_likelihood must be one of {PRIOR_LIKELIHOODS}; got {likelihood!r}."
        )
    if values is None:
        return None
    prior = check_weights_of_experts(values, n, K)
    if (prior == 1).all():
        return None
    counted = prior if weight is None else prior[weight > 0]
    if likelihood == "conditional" and ((counted > 0).sum(axis=1) == 1).all():
        raise ValueError(
            "expert_prior names one expert in every row, and the conditional likelihood then says "
            "nothing of the gate. Use prior_likelihood='evidential', which fits the gate to the "
            "named experts."
        )
    return prior


def check_weights_of_experts(values, n, K):
    """(n, K) weights of what is known of the rows' experts, with a maximum of one in every row.

    Raises
    ------
    ValueError
        On another shape, negative or infinite weights, or a row without an admitted expert.
    """
    prior = np.array(values, dtype=np.float64)
    if prior.shape != (n, K):
        raise ValueError(
            f"expert_prior needs one row of weights per row of X and one column per expert, "
            f"shape ({n}, {K}); got {prior.shape}."
        )
    unknown = np.isnan(prior)
    if np.any(unknown.any(axis=1) != unknown.all(axis=1)):
        raise ValueError(
            "expert_prior: a row is NaN as a whole (nothing is known) or not at all; row "
            f"{int(np.argmax(unknown.any(axis=1) & ~unknown.all(axis=1)))} is NaN in part."
        )
    prior[unknown] = 1.0
    if not np.isfinite(prior).all() or prior.min() < 0:
        raise ValueError("expert_prior must be finite and not negative; zero excludes an expert.")
    top = prior.max(axis=1, keepdims=True)
    if not top.min() > 0:
        raise ValueError(
            f"expert_prior: row {int(top.argmin())} excludes every expert. Use a row of ones or "
            "NaN where nothing is known."
        )
    return prior / top


def check_prior_alone(expert_prior, groups):
    """Refuse what is known of single rows' experts where the rows of a group share one."""
    if groups is not None and expert_prior is not None:
        raise ValueError("expert_prior= and groups= cannot be given together.")


def check_n_experts(n_experts, n_rows, what="rows"):
    """K as an int, no larger than the number of rows (or groups) with positive weight."""
    if (
        isinstance(n_experts, bool)
        or not isinstance(n_experts, numbers.Integral)
        or int(n_experts) < 1
    ):
        raise ValueError(f"n_experts must be an integer >= 1; got {n_experts!r}.")
    if int(n_experts) > n_rows:
        raise ValueError(
            f"n_experts={n_experts} needs at least {n_experts} {what} of positive weight; got "
            f"{'n_samples' if what == 'rows' else what}={n_rows}. Use fewer experts."
        )
    return int(n_experts)


def check_columns(chosen, names, p, what):
    """Column positions from names, positions, a slice or a boolean mask; None means all."""
    if chosen is None:
        return np.arange(p)
    if isinstance(chosen, slice):
        return np.arange(p)[chosen]
    if isinstance(chosen, str) or not isinstance(chosen, Sequence | np.ndarray):
        chosen = [chosen]
    items = list(chosen)
    if any(isinstance(item, str) for item in items):
        return _columns_by_name(items, names, what)
    array = np.asarray(items)
    if array.dtype == bool:
        if len(array) != p:
            raise ValueError(f"{what}: the mask has {len(array)} entries for {p} columns.")
        return np.flatnonzero(array)
    if array.size == 0:
        return np.empty(0, dtype=int)
    if not np.issubdtype(array.dtype, np.integer) or array.min() < -p or array.max() >= p:
        raise ValueError(f"{what}: positions must lie in 0..{p - 1}; got {items!r}.")
    columns = array % p
    if len(np.unique(columns)) < len(columns):
        raise ValueError(f"{what}: a column is named twice in {items!r}.")
    return columns


def _columns_by_name(items, names, what):
    if names is None:
        raise ValueError(f"{what}: names need a data frame with column names; got {items!r}.")
    position = {name: i for i, name in enumerate(names)}
    missing = [item for item in items if item not in position]
    if missing:
        raise ValueError(f"{what}: no column named {missing!r}; the columns are {list(names)!r}.")
    if len(set(items)) < len(items):
        raise ValueError(f"{what}: a column is named twice in {items!r}.")
    return np.array([position[item] for item in items])
