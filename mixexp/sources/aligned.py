"""Dask collections cut at the same rows: the parts of each partition, ready to be computed."""

from __future__ import annotations

import warnings
from typing import Any, NamedTuple

import numpy as np

from .values import as_values, column_names

GIVEN_AS = {"weight": "sample_weight"}  # names of inputs in messages, where they differ


class Partitions(NamedTuple):
    """The partitions of several collections of the same rows.

    Attributes
    ----------
    names : tuple of str
        "X" and the other inputs, in the order of the parts.
    parts : list of tuple
        For every partition what is computed of it: a `dask.delayed.Delayed` of an array or of a
        tuple of pandas objects, or a number that stands for all rows.
    n_features : int
    feature_names : list of str, or None
    collections : tuple
        What the parts are of: what was persisted lives as long as these.
    """

    names: tuple[str, ...]
    parts: list[tuple]
    n_features: int
    feature_names: list[str] | None
    collections: tuple


def by_name(names, parts) -> dict[str, Any]:
    """What the computed parts of a partition hold, by the names of a `Partitions`."""
    flat = [one for part in parts for one in (part if isinstance(part, tuple) else (part,))]
    return dict(zip(names, flat, strict=True))


def is_dask(values) -> bool:
    """Whether this is a Dask collection; Dask need not be there to ask."""
    graph = getattr(values, "__dask_graph__", None)
    if not callable(graph):
        return False
    # those of Dask itself make their graphs anew; others may hold Dask's arrays or arrays in memory
    return type(values).__module__.startswith("dask") or graph() is not None


def is_frame(values) -> bool:
    """Whether this is a data frame or series, of pandas or of Dask."""
    return hasattr(values, "iloc") or hasattr(values, "divisions")


def aligned(X, given: dict[str, Any]) -> Partitions:
    """The partitions of X and of the inputs given beside it.

    Arrays of known chunks are rechunked as X; frames of known divisions are cut at those of X.
    Others are paired partition by partition, and whether their lengths agree is seen when they are
    computed.

    Raises
    ------
    ValueError
        Where an input cannot be paired with X; the message says which and what would help.
    """
    X = _columns_of(X)
    sizes = sizes_of(X)
    inputs = {"X": X}
    inputs |= {name: paired(X, sizes, name, values) for name, values in given.items()}
    frames = {name: values for name, values in inputs.items() if is_frame(values)}
    others = {name: values for name, values in inputs.items() if name not in frames}
    arrays = {name: values for name, values in others.items() if is_dask(values)}
    numbers = {name: values for name, values in others.items() if name not in arrays}
    parts = [*_of_frames(list(frames.values())), *map(_chunks, arrays.values())]
    parts += [[values] * n_partitions(X) for values in numbers.values()]
    names = (*frames, *arrays, *numbers)
    rows = list(zip(*parts, strict=True))
    width, columns = X.shape[1], column_names(getattr(X, "columns", None))
    return Partitions(names, rows, width, columns, tuple(inputs.values()))


def paired(X, sizes, name, values):
    """An input cut at the rows of X's partitions."""
    shown = GIVEN_AS.get(name, name)
    if not is_dask(values):
        if np.ndim(values) == 0:
            return values
        return _dealt(X, sizes, shown, values)
    _check_kind(shown, values)
    if not is_frame(values):
        values = values.rechunk({1: -1}) if values.ndim == 2 else values
        own = sizes_of(values)
        if sizes is not None and own is not None:
            _check_total(shown, sum(own), sum(sizes))
            return values if own == sizes else values.rechunk({0: sizes})
    elif is_frame(X) and values.known_divisions and X.known_divisions:
        if values.divisions == X.divisions:
            return values
        if values.divisions[0] == X.divisions[0] and values.divisions[-1] == X.divisions[-1]:
            return values.repartition(divisions=X.divisions)
        raise ValueError(
            f"{shown} has divisions from {values.divisions[0]!r} to {values.divisions[-1]!r} and X "
            f"from {X.divisions[0]!r} to {X.divisions[-1]!r}: they are not of the same rows."
        )
    if n_partitions(values) != n_partitions(X):
        raise ValueError(
            f"{shown} has {n_partitions(values)} partitions and X has {n_partitions(X)}, and where "
            "their rows are cut is not known. Give columns of one data frame, or arrays whose "
            "chunks are known (compute_chunk_sizes(), to_dask_array(lengths=True))."
        )
    return values


def sizes_of(values) -> tuple[int, ...] | None:
    """Rows of the partitions; None where they are not known before they are computed."""
    if is_frame(values) or np.isnan(values.chunks[0]).any():
        return None
    return tuple(map(int, values.chunks[0]))


def count_rows(values) -> int:
    """Rows of a collection, by a pass over it where the sizes of its partitions are not known."""
    if not is_dask(values):
        return len(values)
    sizes = sizes_of(values)
    if sizes is None:
        import dask

        length = dask.delayed(len, pure=False)
        sizes = dask.compute(*(length(part) for part in np.ravel(values.to_delayed())))
    return sum(sizes)


def n_partitions(values) -> int:
    return values.npartitions if is_frame(values) else len(values.chunks[0])


def _columns_of(X):
    """X with all columns of a row in one chunk."""
    _check_kind("X", X)
    if X.ndim != 2:
        raise ValueError(
            f"X must have rows and columns; got a Dask {type(X).__name__} of {X.ndim} "
            "dimension(s). Use X[['column']] or X.reshape(-1, 1)."
        )
    if not is_frame(X):
        return X.rechunk({1: -1}) if len(X.chunks[1]) > 1 else X
    texts = [str(name) for name, kind in X.dtypes.items() if not _is_number(kind)]
    if texts:
        raise ValueError(
            f"X must be numbers; the columns {texts} hold {X.dtypes[texts[0]]}. Encode them, or "
            "leave them out."
        )
    return X


def _is_number(kind) -> bool:
    return getattr(getattr(kind, "numpy_dtype", kind), "kind", "O") in "biuf"


def _check_kind(shown, values):
    from dask.delayed import Delayed  # which has every attribute that it is asked for

    delayed = isinstance(values, Delayed)
    if delayed or not is_dask(values) or not (is_frame(values) or hasattr(values, "chunks")):
        raise ValueError(
            f"{shown} must be a Dask array, series or data frame; got {type(values).__name__}."
        )


def _check_total(shown, n, total):
    if n != total:
        raise ValueError(f"{shown} has {n} rows and X has {total}.")


def _dealt(X, sizes, shown, values):
    """Values in memory as a collection; they are sent to the workers once, not in each pass."""
    from dask import array

    if sizes is None:
        raise ValueError(
            f"{shown} is in memory ({type(values).__name__}), and how many rows the partitions of "
            f"X have is not known. Give {shown} as a Dask collection, or X with known chunks "
            "(compute_chunk_sizes(), to_dask_array(lengths=True))."
        )
    values = as_values(values)
    _check_total(shown, len(values), sum(sizes))
    chunks = (sizes, *((size,) for size in values.shape[1:]))
    return sent(array.from_array(values, chunks=chunks))


def sent(collection):
    """Rows in memory as a persisted collection, on the workers where there are any."""
    with warnings.catch_warnings():
        # the rows travel in the graph, so that those of a worker that dies are sent again
        warnings.filterwarnings("ignore", "Sending large graph")
        return collection.persist()


def _of_frames(frames) -> list[list]:
    """Delayed tuples of the frames' partitions; what the frames share is computed once."""
    if not frames:
        return []
    from dask.dataframe import map_partitions

    meta = (None, object)
    options = {"align_dataframes": False, "enforce_metadata": False, "meta": meta}
    return [map_partitions(_together, *frames, **options).to_delayed()]


def _together(*parts):
    return parts


def _chunks(values) -> list:
    """The delayed chunks of an array.

    Their graphs are not optimised: optimised ones lose what was persisted, and share less.
    """
    return list(values.to_delayed(optimize_graph=False).ravel())
