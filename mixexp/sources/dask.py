"""`DaskSource`: rows in Dask arrays and data frames, where their partitions are."""

from __future__ import annotations

import functools
import uuid
from concurrent.futures import CancelledError
from typing import Any

import numpy as np
from scipy import sparse

from .aligned import GIVEN_AS, Partitions, aligned, by_name, is_dask, sent
from .base import ROW_INPUTS, Block, Source
from .values import as_floats, as_values, column_names, label_order

ROWS = 65_536  # of a partition of rows that were in memory: of the rows alone, not of the cluster

LOST = (
    "A pass over the partitions was cancelled ({reason}), as when the Dask scheduler was lost or "
    "what was persisted has gone. Connect to a cluster, make the collections anew there and call "
    "fit again: with solver=EM(checkpoint=path) it continues from the last pass that was stored."
)
ARITY = 8  # values merged by one task: trees are flat, and the same for any number of workers


class DaskSource(Source):
    """Rows in Dask collections; a block is a partition, and functions run where it is.

    One pass is one graph: a task for every partition, whose values are merged as a tree. It runs
    on the cluster of the current `distributed.Client`, or on Dask's local scheduler where there is
    none. Persisted collections are used where they lie; others are computed anew in each pass,
    partition by partition.

    Parameters
    ----------
    X : dask.array.Array of shape (n, p) or dask.dataframe.DataFrame
    y : dask.array.Array, dask.dataframe.Series or DataFrame, or array-like
    weight, offset, exposure, trials : the same of shape (n,), or None
        What is no Dask collection is dealt to the partitions, whose sizes must then be known.

    Raises
    ------
    ValueError
        Where partitions do not belong together; the message names the input.
    ConnectionError
        By a pass that loses the scheduler of its cluster.
    """

    engine = "dask"

    def __init__(self, X, y=None, *, weight=None, offset=None, exposure=None, trials=None):
        inputs = {"y": y, "weight": weight, "offset": offset, "exposure": exposure}
        inputs["trials"] = trials
        given = {name: values for name, values in inputs.items() if values is not None}
        self._partitions: Partitions = aligned(X, given)
        self.n_features = self._partitions.n_features
        self.feature_names = self._partitions.feature_names
        self.n_outputs = n_outputs(y)
        self.label_order = label_order(y)
        self.row_inputs = tuple(name for name in ROW_INPUTS if name in given)

    @property
    def n_partitions(self) -> int:
        return len(self._partitions.parts)

    def reduce(self, function, merge):
        import dask

        tree = self._tree(function, merge)
        try:
            found = dask.compute(tree, optimize_graph=False)
        except CancelledError as error:
            raise ConnectionError(LOST.format(reason=error)) from error
        return self._value(found[0])

    def _tree(self, function, merge):
        """The graph of one pass; the function travels as one value that all its tasks share."""
        from dask import delayed

        pass_ = f"mixexp-{uuid.uuid4().hex}"
        function = delayed(function, name=f"{pass_}-function", traverse=False)
        merge = delayed(merge, name=f"{pass_}-merge", traverse=False)
        on_partition = delayed(_on_partition, pure=False)
        merged = delayed(_merged, pure=False)
        names = self._partitions.names
        level = [
            on_partition(function, names, place, *parts)
            for place, parts in enumerate(self._partitions.parts)
        ]
        while len(level) > 1:
            level = [
                merged(merge, *level[start : start + ARITY])
                for start in range(0, len(level), ARITY)
            ]
        return level[0]

    def _value(self, found):
        if found is None:
            raise ValueError(
                f"X has no rows in any of its {self.n_partitions} partitions: there is nothing to "
                "fit."
            )
        return found[0]

    def identity(self) -> str:
        kinds = ", ".join(self._partitions.names)
        return f"dask: {kinds} in {self.n_partitions} partitions of {self.n_features} columns"


def dask_source(X, y, **inputs) -> DaskSource:
    """The source of ``engine="dask"``: Dask collections, or rows in memory cut into partitions.

    Rows in memory are sent to the workers once.

    Raises
    ------
    ImportError
        Without Dask.
    ValueError
        As `DaskSource`, or for another kind of dataset.
    """
    try:
        import dask.array
        import dask.dataframe
    except ImportError as error:
        raise ImportError(
            f"engine='dask' needs Dask ({error}): pip install \"mixexp[dask]\""
        ) from error
    if isinstance(X, Source):
        raise ValueError(
            f"engine='dask' takes Dask collections or arrays; got {type(X).__name__}. Leave "
            "engine='auto', or read the files with Dask (dask.dataframe.read_parquet)."
        )
    if y is None:
        raise ValueError("fit needs y beside X.")
    if is_dask(X):
        return DaskSource(X, y, **inputs)
    values = as_floats(X)
    if values.ndim != 2 or sparse.issparse(X):
        kind = "a sparse matrix" if sparse.issparse(X) else f"an array of shape {values.shape}"
        raise ValueError(f"engine='dask' takes dense X of shape (n, p); got {kind}.")
    cut = sent(dask.array.from_array(values, chunks=(ROWS, -1)))
    source = DaskSource(cut, y, **inputs)
    source.feature_names = column_names(getattr(X, "columns", None))
    return source


def n_outputs(y) -> int:
    """Columns of a target; 0 where it has one value for each row."""
    y = y if is_dask(y) else np.asarray(y)
    return int(y.shape[1]) if y.ndim == 2 else 0


def _on_partition(function, names, place, *parts):
    """A task: (the function's value,), or None for a partition without rows."""
    block = block_of(names, place, parts)
    return None if len(block.X) == 0 else (function(block),)


def _merged(merge, *values):
    """A task: neighbours merged in their order; partitions without rows have no say."""
    present = [value[0] for value in values if value is not None]
    return (functools.reduce(merge, present),) if present else None


def block_of(names, place, parts) -> Block:
    """A partition's parts as a `Block`."""
    values: dict[str, Any] = {"y": None}
    values |= {name: _dense(part) for name, part in by_name(names, parts).items()}
    n = values["X"].shape[0]
    for name in names:
        part = values[name]
        if np.ndim(part) == 0:
            values[name] = np.full(n, part)
        elif part.shape[0] != n:
            raise ValueError(
                f"Partition {place}: {GIVEN_AS.get(name, name)} has {part.shape[0]} rows and X has "
                f"{n}. Partitions are paired in their order; give inputs that are cut at the same "
                "rows, such as columns of one data frame."
            )
    values["X"] = as_floats(values["X"])
    return Block(**values, place=f"partition {place}")


def _dense(part):
    """An array of a part that is not sparse."""
    if sparse.issparse(part):
        raise ValueError(
            "X has sparse chunks, and engine='dask' takes dense columns: "
            "X.map_blocks(lambda chunk: chunk.toarray())."
        )
    return as_values(part)
