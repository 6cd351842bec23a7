"""Predictions for Dask collections: lazy collections, computed partition by partition."""

from __future__ import annotations

import copy
import functools
import inspect
import uuid

import numpy as np
import pandas as pd
from sklearn.utils.validation import _check_feature_names, _check_n_features, check_is_fitted

from .._validation import refuse_dataset
from ..sources.aligned import Partitions, aligned, by_name, is_frame, sizes_of
from ..sources.elsewhere import held_elsewhere

ROW_WISE = ("y", "offset", "exposure", "trials")
IN_MEMORY = ("groups", "expert_prior")


def of_experts(estimator, settings) -> tuple[int, ...]:
    """Shape of one value for each expert."""
    return (estimator.n_experts_,)


def single(estimator, settings) -> tuple[int, ...]:
    """Shape of one value for a row."""
    return ()


def lazy(shape, dtype=lambda estimator: np.float64):
    """Decorator of a method ``(self, X, ...)``: for a Dask X its value is a lazy collection.

    The method itself is called with every partition. Arrays give arrays; data frames give series
    where the method has one value for each row, else arrays.

    Parameters
    ----------
    shape : callable
        Of the estimator and the arguments that are not row-wise: the shape of a row's value.
    dtype : callable
        Of the estimator: the type of the values.
    """

    def decorate(method):
        signature = inspect.signature(method)

        @functools.wraps(method)
        def called(self, X, *arguments, **inputs):
            found = held_elsewhere(X)
            if found is None:
                return method(self, X, *arguments, **inputs)
            if found.kind != "dask":  # a dataset's target is no argument
                refuse_dataset(X, method.__name__)
            bound = signature.bind(self, X, *arguments, **inputs).arguments
            others = {name: value for name, value in bound.items() if name not in ("self", "X")}
            return _mapped(self, method.__name__, X, others, shape, dtype)

        return called

    return decorate


def _mapped(estimator, method, X, inputs, shape, dtype):
    check_is_fitted(estimator)
    given = {name: value for name, value in inputs.items() if value is not None}
    for name in IN_MEMORY:
        if name in given:
            raise ValueError(
                f"{name}= is not available for Dask collections: its rows may be in several "
                "partitions. Compute X first."
            )
    seen = X._meta if is_frame(X) else X
    _check_feature_names(estimator, seen, reset=False)
    _check_n_features(estimator, seen, reset=False)
    row_wise = {name: value for name, value in given.items() if name in ROW_WISE}
    settings = {name: value for name, value in given.items() if name not in ROW_WISE}
    parts = aligned(X, row_wise)
    kind = shape(estimator, settings), np.dtype(dtype(estimator))
    values = _values(estimator, method, parts, settings, kind, is_frame(X))
    return _collection(X, values, *kind)


def _values(estimator, method, partitions: Partitions, settings, kind, framed) -> list:
    """The delayed values of the partitions; the estimator travels as one value they share."""
    from dask import delayed

    # as it is now: a later fit sets new attributes
    fixed = copy.copy(estimator), method, settings, kind, framed, partitions.names
    shared = delayed(fixed, name=f"mixexp-{method}-{uuid.uuid4().hex}", traverse=False)
    of_partition = delayed(_of_partition, pure=False)
    return [of_partition(shared, *parts) for parts in partitions.parts]


def _of_partition(fixed, *parts):
    """A task: the method's values of one partition."""
    estimator, method, settings, kind, framed, names = fixed
    inputs = by_name(names, parts)
    X = inputs.pop("X")
    shape, dtype = kind
    if X.shape[0]:
        values = np.asarray(getattr(estimator, method)(X, **inputs, **settings), dtype=dtype)
    else:
        values = np.empty((0, *shape), dtype=dtype)
    return pd.Series(values, index=X.index) if framed and values.ndim == 1 else values


def _collection(X, values, shape, dtype):
    """The values of the partitions as one collection, cut as X."""
    if is_frame(X) and not shape:
        from dask.dataframe import from_delayed

        meta = pd.Series(np.empty(0, dtype), index=X._meta.index[:0])
        divisions = {"divisions": X.divisions} if X.known_divisions else {}
        return from_delayed(values, meta=meta, verify_meta=False, **divisions)
    from dask import array

    sizes = sizes_of(X) or (np.nan,) * len(values)
    chunks = [
        array.from_delayed(value, (size, *shape), dtype=dtype)
        for value, size in zip(values, sizes, strict=True)
    ]
    whole = array.concatenate(chunks, allow_unknown_chunksizes=True)
    return whole.rechunk({0: sizes}) if 0 in sizes else whole  # empty chunks were left out
