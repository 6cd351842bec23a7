"""`load`: whatever model a file holds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mixexp._persistence import FileMeta, PersistenceError, load_tree
from mixexp.estimators import _mixed_saving, _saving
from mixexp.tables import model as table_model

READERS = {  # of files that are not read here
    "checkpoint": "fit, of an estimator with the same settings and solver=EM(checkpoint=path)",
    "local fit": "LocalFit.load",
    "neural estimator": "the load of its class, such as mixexp.neural.NeuralMoERegressor.load",
    "local statistics": "mixexp.distributed.LocalStatistics.load",
}


def load(path: str | Path) -> Any:
    """A fitted model from a file that ``save`` or ``mixexp study`` wrote.

    Loading executes nothing: the file holds arrays and plain values, and names only classes of
    this package.

    Parameters
    ----------
    path : path-like

    Returns
    -------
    MoERegressor, MoEClassifier, MixedEffectsMoERegressor or TableModel
        A `TableModel` (an estimator with the preprocessing of its table) from the file of a
        study on a table.

    Raises
    ------
    PersistenceError
        If the file is damaged, truncated, foreign or of a newer format (a ValueError).
    """
    tree, meta = load_tree(path, kind=None)
    return from_tree(tree, meta, path)


def from_tree(tree: Any, meta: FileMeta, path: str | Path) -> Any:
    """The model of a file's tree, by the kind that the file says it has."""
    if meta.kind == _saving.KIND:
        return _saving.from_tree(tree)
    if meta.kind == _mixed_saving.KIND:
        return _mixed_saving.from_tree(tree)
    if meta.kind == table_model.KIND:
        return table_model.TableModel.from_tree(tree)
    reader = READERS.get(meta.kind)
    raise PersistenceError(
        f"{path} holds {meta.kind!r} data, which this function does not read."
        + ("" if reader is None else f" It is read by {reader}.")
    )
