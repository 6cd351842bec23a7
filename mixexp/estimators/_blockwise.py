"""Predictions over a dataset of blocks, in the memory of two blocks."""

from __future__ import annotations

import inspect
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from sklearn.utils.validation import check_is_fitted

from .._validation import refuse_missing
from ..sources import Block, BlockSource, FileDataset, PlacedError, read_ahead
from ..sources.elsewhere import held_elsewhere
from ._blocked import checked_columns, numbers


class BlockwiseMixin:
    """What a fitted estimator says of data that need not fit into memory."""

    def predict_blocks(self, dataset, method="predict", **settings) -> Iterator[np.ndarray]:
        """The values of a method of this estimator, block by block.

        Parameters
        ----------
        dataset : FileDataset, ArrayDataset or BlockDataset
        method : str, default="predict"
            A method of rows, such as "predict_proba", "gate_proba", "predict_interval", or one
            that takes the target as well, "log_prob" or "responsibilities".
        **settings
            Other arguments of the method. Targets, offsets, exposures and trials are those of the
            dataset.

        Returns
        -------
        iterator of ndarray
            One array for every block, in order.

        Raises
        ------
        ValueError
            If there is no such method, the dataset lacks what it needs, or a block is unusable: the
            message names its place.

        Examples
        --------
        >>> import numpy as np
        >>> from mixexp import ArrayDataset, MoERegressor
        >>> from mixexp.datasets import load_ethanol
        >>> X, y = load_ethanol(return_X_y=True)
        >>> model = MoERegressor(n_experts=2).fit(X, y)
        >>> parts = model.predict_blocks(ArrayDataset(X, y, block_rows=50), "log_prob")
        >>> bool(np.isclose(sum(part.sum() for part in parts), model.loglik_))
        True
        """
        check_is_fitted(self)
        if not isinstance(method, str):
            raise ValueError(
                f"method must be the name of one method, such as 'predict'; got {method!r}. Call "
                "predict_blocks or predict_to once for each."
            )
        found = held_elsewhere(dataset)
        if found is not None and found.kind != "source":
            instead = (
                f"Give FileDataset({os.fspath(dataset)!r}, features=[...])."
                if found.kind == "path"
                else f"Of Dask collections {method}(X) is a lazy collection, which Dask computes "
                "or writes."
            )
            raise ValueError(f"predict_blocks needs a dataset; got {found.name}. {instead}")
        if not isinstance(dataset, BlockSource):
            raise ValueError(
                "predict_blocks needs a FileDataset, ArrayDataset or BlockDataset; got "
                f"{type(dataset).__name__}. For rows in memory call {method} itself."
            )
        function = getattr(self, method, None)
        if method.startswith("_") or not callable(function):
            raise ValueError(f"{type(self).__name__} has no method {method!r}.")
        takes = inspect.signature(function).parameters
        unknown = [name for name in settings if name not in takes]
        if "X" not in takes or unknown:
            raise ValueError(f"{method} is no method of rows with the settings {unknown!r}.")
        return _values(dataset, function, takes, settings)

    def predict_to(self, dataset, path, method="predict", **settings) -> None:
        """Write the values of a method for every row of a dataset to a Parquet file.

        A row group for every block; columns are named after the method, with numbers where it has
        several values for a row. The file appears when it is whole.

        Parameters
        ----------
        dataset, method, **settings
            As for `predict_blocks`.
        path : path-like
            Of the file, which ends in .parquet; one that exists is replaced.

        Raises
        ------
        ValueError
            As for `predict_blocks`; and before anything is read, if the path is a folder, ends
            otherwise, or is one of the dataset's files or lies in its folder.
        """
        import pyarrow as pa
        import pyarrow.parquet as pq

        parts = self.predict_blocks(dataset, method, **settings)
        path = _free_path(path, dataset)
        unfinished = path.with_name(f".{path.name}.{os.getpid()}-{os.urandom(4).hex()}")
        writer = None
        try:
            for values in parts:
                table = pa.table(_columns(values, method))
                writer = writer or pq.ParquetWriter(unfinished, table.schema)
                writer.write_table(table, row_group_size=max(1, len(values)))
            if writer is None:
                raise ValueError(f"{type(dataset).__name__} has no rows: there is nothing to say.")
            writer.close()
            os.replace(unfinished, path)
        finally:
            if writer is not None:
                writer.close()
            unfinished.unlink(missing_ok=True)


def _free_path(path, dataset) -> Path:
    """Where a file of predictions may be written: a link stays, and what it leads to is replaced.

    Raises
    ------
    ValueError
    """
    given = os.fspath(path)
    said, real = f"path={given!r}", Path(os.path.realpath(given))
    if real.is_dir() or given.endswith(("/", os.sep)):
        raise ValueError(f"{said} is a folder. Name a file in it, such as 'predictions.parquet'.")
    if Path(given).suffix.lower() != ".parquet":
        raise ValueError(
            f"{said}: predictions are written as Parquet; got the suffix {Path(given).suffix!r}. "
            "The name must end in .parquet."
        )
    if not real.parent.is_dir():
        raise ValueError(f"{said}: the folder does not exist. Make it.")
    if isinstance(dataset, FileDataset) and dataset.holds(given):
        raise ValueError(
            f"{said} is one of the dataset's files, or lies in its folder, whose rows would be "
            "lost or no longer readable. Write elsewhere."
        )
    return real


def _values(dataset, function, takes, settings):
    names = dataset.feature_names or [f"x{j}" for j in range(dataset.n_features)]
    for block in read_ahead(dataset):
        try:
            checked_columns(block, names)
            yield function(
                framed(dataset.feature_names, block), **inputs_of(block, takes), **settings
            )
        except PlacedError:
            raise
        except ValueError as error:
            raise ValueError(f"{block.place}: {error}") from error


def framed(names, block: Block):
    """X of the block with the names of its columns, where it has any."""
    return block.X if names is None else pd.DataFrame(block.X, columns=names, copy=False)


def inputs_of(block: Block, takes) -> dict[str, Any]:
    """What a method takes of a block besides X."""
    inputs = {name: getattr(block, name) for name in ("offset", "exposure", "trials")}
    given = {name: value for name, value in inputs.items() if value is not None and name in takes}
    for name, value in given.items():
        numbers(block, name, value)
    if "y" in takes:
        if block.y is None:
            raise ValueError("the method needs the target, and the dataset has none (target=).")
        if np.asarray(block.y).dtype.kind == "f":
            numbers(block, "y", block.y)
        refuse_missing(block.y, block.place_of)
        given["y"] = block.y
    return given


def _columns(values, name):
    """The values as columns."""
    values = np.asarray(values)
    if values.ndim == 1:
        return {name: values}
    return {
        "_".join([name, *map(str, place)]): values[(slice(None), *place)]
        for place in np.ndindex(values.shape[1:])
    }
