"""Atomic replacement of a file: a crash at any moment leaves the old file or the new."""

from __future__ import annotations

import hashlib
import os
import platform
import re
import time
from pathlib import Path

_STALE_SECONDS = 24 * 3600


def _node() -> str:
    return hashlib.sha256(platform.node().encode()).hexdigest()[:8]


def _process_lives(pid: int) -> bool:
    if os.name != "posix":  # signal 0 is no harmless question elsewhere
        return True
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except (PermissionError, OverflowError):
        return True
    return True


def _remove_stale(target: Path) -> None:
    """Remove what killed writers of ``target`` left: of dead processes here, or a day old."""
    pattern = re.compile(rf"\.{re.escape(target.name)}\.([0-9a-f]{{8}})-(\d+)-[0-9a-f]+\.tmp")
    try:
        entries = list(target.parent.iterdir())
    except OSError:  # writing will say what is wrong with the folder
        return
    for entry in entries:
        match = pattern.fullmatch(entry.name)
        if match is None:
            continue
        try:
            dead = match[1] == _node() and not _process_lives(int(match[2]))
            if dead or time.time() - entry.stat().st_mtime > _STALE_SECONDS:
                entry.unlink()
        except OSError:  # another process was faster, or it is not ours to remove
            continue


def _sync_folder(folder: Path) -> None:
    """Make the rename itself durable, where the system can open a folder."""
    if os.name != "posix":
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def write_atomic(path: str | os.PathLike[str], data: bytes) -> None:
    """Replace ``path`` by a file with these bytes: entirely, or not at all.

    A temporary file in the same folder is filled, synced and renamed over the target, and the
    folder synced; what killed writers left is removed.

    Raises
    ------
    OSError
        When the file cannot be written; the old file is intact then.
    """
    target = Path(os.path.realpath(path))  # a symbolic link stays, its target is replaced
    _remove_stale(target)
    name = f".{target.name}.{_node()}-{os.getpid()}-{os.urandom(4).hex()}.tmp"
    temporary = target.with_name(name)
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)
    handle = os.open(temporary, flags, 0o666)
    try:
        with os.fdopen(handle, "wb") as stream:
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(temporary, target)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    _sync_folder(target.parent)
