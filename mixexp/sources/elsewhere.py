"""Whether data are rows in memory, or say where rows are."""

from __future__ import annotations

import os
from typing import Literal, NamedTuple

from .aligned import is_dask
from .base import Source


class Elsewhere(NamedTuple):
    """Data whose rows are not in memory.

    Parameters
    ----------
    kind : {"path", "source", "dask"}
        The name of a file or folder, a `Source`, or a Dask collection.
    name : str
        What was given, for messages.
    """

    kind: Literal["path", "source", "dask"]
    name: str


def held_elsewhere(X) -> Elsewhere | None:
    """What X is where it holds no rows itself; None for rows in memory."""
    if isinstance(X, str | os.PathLike):
        return Elsewhere("path", f"the path {os.fspath(X)!r}")
    if isinstance(X, Source):
        return Elsewhere("source", type(X).__name__)
    if is_dask(X):
        return Elsewhere("dask", f"a Dask {type(X).__name__}")
    return None


def refuse_path(X, needed: str) -> None:
    """Refuse the name of a file or folder, with the dataset to give instead."""
    if isinstance(X, str | os.PathLike):
        raise ValueError(
            f"{needed}; got the path {os.fspath(X)!r}. Give FileDataset({os.fspath(X)!r}, "
            "target=...), with the name of the target's column."
        )
