"""Checkpoints of a running fit: written atomically every so many passes, bound to their data."""

from __future__ import annotations

import functools
import hashlib
from pathlib import Path
from typing import Any

import numpy as np
from scipy import sparse

from .._component import Component
from .._persistence import PersistenceError, digest, load_tree, save_tree
from .driver import EMState
from .rows import Rows, blocks

KIND = "checkpoint"
START = "parameters of start"  # in names of settings
MOST = 6  # differences that an error lists
FEW, LONGEST = 12, 60  # entries of an array, and letters of a value, that it shows


@functools.singledispatch
def fingerprint(rows: Rows | Any, description: str) -> str:
    """SHA-256 of the rows' values and of a text."""
    total = hashlib.sha256(description.encode())
    part: Any
    for part in rows:
        if part is None:
            total.update(b"none")
        elif sparse.issparse(part):
            for array in (part.data, part.indices, part.indptr):
                total.update(np.ascontiguousarray(array).tobytes())
        else:
            total.update(f"{part.shape}{part.dtype}".encode())
            for block in blocks(len(part)):
                total.update(np.ascontiguousarray(part[block]).tobytes())
    return total.hexdigest()


def named_settings(values: dict[str, Any]) -> dict[str, list[str]]:
    """Digest and short text of every setting; of components, of their own settings in turn."""
    named = {}
    for name, value in values.items():
        if isinstance(value, Component):
            named[name] = [digest(type(value)), type(value).__name__]
            own = value.get_params(deep=False)
            named |= named_settings({f"{name}.{key}": one for key, one in own.items()})
        else:
            named[name] = [digest(value), _shown(value)]
    return named


def differences(old: dict[str, list[str]], new: dict[str, list[str]]) -> list[str]:
    """What differs between two fits' named settings, with the old and the new value."""
    absent = ["", "absent"]
    names = [n for n in {**old, **new} if old.get(n, absent)[0] != new.get(n, absent)[0]]
    settings = [name for name in names if not name.startswith(START)]
    names = settings or names  # parameters of a start follow from the rows and the settings
    said = []
    for name in names:
        if any(name.startswith(f"{other}.") for other in names):
            continue  # of another class, whose settings are others
        then, now = (side.get(name, absent)[1] for side in (old, new))
        values = f"{then} there and {now} here" if then != now else "other values"
        said.append(f"{name} ({values})")
    return said


def _shown(value) -> str:
    """A value in a few words: those of one kind may look alike."""
    if isinstance(value, np.ndarray) and value.size > FEW:
        return f"an array of shape {value.shape}"
    if callable(value):
        return getattr(value, "__qualname__", type(value).__name__)
    text = repr(value.tolist() if isinstance(value, np.ndarray) else value)
    return text if len(text) <= LONGEST else type(value).__name__


class Checkpoint:
    """The file of one fit.

    Parameters
    ----------
    path : path-like
    every : int
        Passes between writings.
    settings : dict of str to [str, str]
        `named_settings` of the fit, its rows among them; a file with others is refused.
    """

    def __init__(self, path, every: int, settings: dict[str, list[str]]):
        if not every >= 1:
            raise ValueError(f"EM needs checkpoint_every >= 1; got {every!r}.")
        self.path = Path(path)
        if not self.path.parent.is_dir():
            raise ValueError(f"EM(checkpoint={str(path)!r}): the folder does not exist. Make it.")
        self.every = every
        self.settings = settings

    def load(self) -> dict | None:
        """What was stored for this very fit: ``state`` and ``extra``; None without a file.

        Raises
        ------
        PersistenceError
            If the file is damaged, or of an earlier form.
        ValueError
            If it belongs to another fit; the message says what differs.
        """
        if not self.path.exists():
            return None
        tree, meta = load_tree(self.path, kind=KIND)
        if "settings" not in tree:
            raise PersistenceError(
                f"The checkpoint {self.path}, of mixexp {meta.mixexp_version}, has an earlier "
                "form, which does not say what fit it belongs to. Delete it, choose another "
                "path, or pass EM(resume=False) to overwrite it."
            )
        found = differences(tree["settings"], self.settings)
        if found:
            rest = f", and {len(found) - MOST} more" if len(found) > MOST else ""
            raise ValueError(
                f"The checkpoint {self.path} belongs to a fit of other data or settings; these "
                f"differ: {'; '.join(found[:MOST])}{rest}. Delete it, choose another path, or pass "
                "EM(resume=False) to overwrite it."
            )
        fields = dict(tree["state"])
        fields["path"] = tuple(np.atleast_2d(fields["path"])) if len(fields["path"]) else ()
        return {"state": EMState(**fields), "extra": tree["extra"]}

    def save(self, state: EMState, extra: dict) -> None:
        """Replace the file, so that a crash at any moment leaves a whole one."""
        from .. import __version__

        fields = state._asdict()
        fields["path"] = np.array(state.path)
        tree = {"settings": self.settings, "state": fields, "extra": extra}
        save_tree(self.path, tree, kind=KIND, version=__version__)
