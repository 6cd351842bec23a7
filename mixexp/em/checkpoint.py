"""Checkpoints of a running fit: written atomically every so many passes, bound to their data."""

from __future__ import annotations

import functools
import hashlib
from pathlib import Path
from typing import Any

import numpy as np
from scipy import sparse

from .._persistence import load_tree, save_tree
from .driver import EMState
from .rows import Rows, blocks

KIND = "checkpoint"


@functools.singledispatch
def fingerprint(rows: Rows | Any, description: str) -> str:
    """SHA-256 of the rows' values and of what is fitted to them."""
    digest = hashlib.sha256(description.encode())
    part: Any
    for part in rows:
        if part is None:
            digest.update(b"none")
        elif sparse.issparse(part):
            for array in (part.data, part.indices, part.indptr):
                digest.update(np.ascontiguousarray(array).tobytes())
        else:
            digest.update(f"{part.shape}{part.dtype}".encode())
            for block in blocks(len(part)):
                digest.update(np.ascontiguousarray(part[block]).tobytes())
    return digest.hexdigest()


class Checkpoint:
    """The file of one fit.

    Parameters
    ----------
    path : path-like
    every : int
        Passes between writings.
    mark : str
        `fingerprint` of the fit; a file with another mark is refused.
    """

    def __init__(self, path, every: int, mark: str):
        if not every >= 1:
            raise ValueError(f"EM needs checkpoint_every >= 1; got {every!r}.")
        self.path = Path(path)
        if not self.path.parent.is_dir():
            raise ValueError(f"EM(checkpoint={str(path)!r}): the folder does not exist. Make it.")
        self.every = every
        self.mark = mark

    def load(self) -> dict | None:
        """What was stored for this very fit: ``state`` and ``extra``; None without a file.

        Raises
        ------
        PersistenceError
            If the file is damaged.
        ValueError
            If it belongs to another fit.
        """
        if not self.path.exists():
            return None
        tree, _ = load_tree(self.path, kind=KIND)
        if tree["mark"] != self.mark:
            raise ValueError(
                f"The checkpoint {self.path} belongs to a fit of other data or settings. "
                "Delete it, choose another path, or pass EM(resume=False) to overwrite it."
            )
        fields = dict(tree["state"])
        fields["path"] = tuple(np.atleast_2d(fields["path"])) if len(fields["path"]) else ()
        return {"state": EMState(**fields), "extra": tree["extra"]}

    def save(self, state: EMState, extra: dict) -> None:
        """Replace the file, so that a crash at any moment leaves a whole one."""
        from .. import __version__

        fields = state._asdict()
        fields["path"] = np.array(state.path)
        tree = {"mark": self.mark, "state": fields, "extra": extra}
        save_tree(self.path, tree, kind=KIND, version=__version__)
