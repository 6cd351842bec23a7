"""Finished chains of a study in a folder: a study killed half-way continues from them."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import joblib
import numpy as np

from mixexp._persistence import load_tree, save_tree
from mixexp.estimators._saving import from_tree, to_tree
from mixexp.selection.study.chains import FitRecord

KIND = "study-chains"
Chains = Mapping[tuple[int, int], Sequence[FitRecord]]


class ChainFolder:
    """A folder with one file for every finished path of chains on all rows or on one fold.

    A file's name is a digest of everything that its fits depend on: data, template, settings,
    fold, version. A study with other data or settings may therefore use the same folder; it finds
    nothing of its own there.

    Parameters
    ----------
    path : path-like
        Created where it does not exist.
    shared : object
        What all tasks of the study depend on.
    """

    def __init__(self, path: str | os.PathLike[str], shared: Any) -> None:
        from mixexp import __version__

        self.version = __version__
        self.path = Path(path)
        if self.path.exists() and not self.path.is_dir():
            raise ValueError(f"checkpoint={str(path)!r} is a file; name a folder.")
        self.path.mkdir(parents=True, exist_ok=True)
        self.shared = joblib.hash((self.version, shared))

    def file(self, task: Any) -> Path:
        """The file of a task, whether it is there or not."""
        return self.path / f"{joblib.hash((self.shared, task))}.chains"

    def load(self, task: Any) -> dict[tuple[int, int], list[FitRecord]] | None:
        """The chains of a finished task; None where it is not finished.

        Raises
        ------
        PersistenceError
            If the file is damaged; remove it, and its fits are made again.
        """
        path = self.file(task)
        if not path.exists():
            return None
        tree, _ = load_tree(path, kind=KIND)
        return {
            (chain["cell"], chain["fold"]): [_record(record) for record in chain["records"]]
            for chain in tree["chains"]
        }

    def save(self, task: Any, chains: Chains) -> None:
        """Write a finished task; the file appears whole or not at all."""
        tree = {
            "chains": [
                {"cell": cell, "fold": fold, "records": [_tree(record) for record in records]}
                for (cell, fold), records in chains.items()
            ]
        }
        save_tree(self.file(task), tree, kind=KIND, version=self.version)


def describe(value: Any) -> Any:
    """Settings as plain values, for a digest that does not depend on the process."""
    if hasattr(value, "get_params"):
        parameters = value.get_params(deep=False)
        return [
            type(value).__name__,
            {name: describe(parameters[name]) for name in sorted(parameters)},
        ]
    if isinstance(value, Mapping):
        return {str(name): describe(value[name]) for name in sorted(value, key=str)}
    if isinstance(value, list | tuple):
        return [describe(item) for item in value]
    if isinstance(value, np.ndarray | str | int | float | np.number | bool | None):
        return value
    return repr(value)


def _tree(record: FitRecord) -> dict[str, Any]:
    return {
        "n_experts": int(record.n_experts),
        "estimator": None if record.estimator is None else to_tree(record.estimator),
        "error": record.error,
        "log_prob": record.log_prob,
        "notes": list(record.notes),
    }


def _record(tree: dict[str, Any]) -> FitRecord:
    estimator = tree["estimator"]
    return FitRecord(
        tree["n_experts"],
        None if estimator is None else from_tree(estimator),
        tree["error"],
        tree["log_prob"],
        tuple(tree["notes"]),
    )
