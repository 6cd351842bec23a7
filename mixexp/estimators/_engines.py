"""Which engine fits which data: the table that `engine="auto"` and `engine="..."` are read from."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from scipy import sparse

from ..em.device import GPU
from ..sources import ROW_INPUTS, ArrayDataset, BlockSource, Source
from ..sources.aligned import is_dask
from ..sources.dask import dask_source
from ..sources.elsewhere import refuse_path
from .intervals import Intervals

AUTO = "Leave engine='auto', which goes by the data."


class Engine(NamedTuple):
    """How an engine comes by its rows.

    takes : callable
        ``takes(X)``: whether it is the engine of such data unless another is asked for.
    source : callable
        ``source(X, y, **row_inputs)``: the data as a `Source`, or a ValueError.
    """

    takes: Callable[[Any], bool]
    source: Callable[..., Source]


def _stream(X, y, **inputs) -> Source:
    if sparse.issparse(X):
        raise ValueError(
            "engine='stream' takes dense columns; got a sparse matrix of X. Use engine='memory', "
            "or X.toarray()."
        )
    if isinstance(X, Source):
        refuse_with(X, y, inputs)
        if not isinstance(X, BlockSource):
            raise ValueError(f"engine='stream' does not take {type(X).__name__}. {AUTO}")
        return X
    if is_dask(X):
        raise ValueError(
            "engine='stream' does not take Dask collections. Leave engine='auto', which fits them "
            "where their partitions are."
        )
    if y is None:
        raise ValueError("fit needs y, or a dataset that holds the target, as FileDataset does.")
    if isinstance(y, Intervals):
        raise ValueError(
            "engine='stream' does not take intervals: their searches need all rows. Use "
            "engine='memory'."
        )
    return ArrayDataset(X, y, **inputs)


ENGINES = {
    "stream": Engine(lambda X: isinstance(X, BlockSource), _stream),
    "dask": Engine(is_dask, dask_source),
}


def refuse_with(dataset, y, inputs):
    """Refuse a target or row-wise inputs beside a dataset that holds them."""
    given = [name for name, value in {"y": y, **inputs}.items() if value is not None]
    if given:
        name = "sample_weight" if given[0] == "weight" else given[0]
        raise ValueError(
            f"{name} is part of a dataset: name its column, or put it into the blocks of "
            f"{type(dataset).__name__}, and leave {name}= out."
        )


def check_engine(engine) -> str:
    """The name of the engine, if there is such a one."""
    if isinstance(engine, GPU):
        return "gpu"
    names = ["auto", "memory", "gpu", *ENGINES]
    if not isinstance(engine, str) or engine not in names:
        raise ValueError(
            f"engine must be one of {', '.join(map(repr, names))}, or GPU(...); got {engine!r}."
        )
    return engine


def source_of(engine, X, y, inputs) -> Source | None:
    """The data as a source of blocks, for an engine that takes them; None for rows in memory."""
    name = check_engine(engine)
    refuse_path(X, "X must hold rows")
    if name == "auto":
        name = next((one for one, engine in ENGINES.items() if engine.takes(X)), "memory")
    if name in ENGINES:
        return ENGINES[name].source(X, y, **inputs)
    if name == "gpu" and (isinstance(X, Source) or is_dask(X)):
        raise ValueError(f"engine='gpu' does not take {type(X).__name__}. Use engine='auto'.")
    return None


def in_memory(dataset, y, inputs):
    """X, y and the row-wise inputs of a dataset, read as a whole for ``engine="memory"``."""
    if is_dask(dataset):
        import dask

        names = ("X", "y", *inputs)
        return dict(zip(names, dask.compute(dataset, y, *inputs.values()), strict=True))
    refuse_with(dataset, y, inputs)
    if not isinstance(dataset, BlockSource):
        raise ValueError(f"engine='memory' does not take {type(dataset).__name__}. {AUTO}")
    held = [block for block in dataset.blocks() if len(block.X)]
    if not held:
        raise ValueError(f"{type(dataset).__name__} has no rows: there is nothing to fit.")
    parts: dict[str, Any] = {}
    for name in ("X", "y", *ROW_INPUTS):
        each = [getattr(block, name) for block in held]
        parts[name] = None if each[0] is None else np.concatenate(each)
    if dataset.feature_names is not None:
        parts["X"] = pd.DataFrame(parts["X"], columns=dataset.feature_names)
    if dataset.label_order is not None:
        parts["y"] = pd.Categorical(parts["y"], categories=dataset.label_order, ordered=True)
    return parts
