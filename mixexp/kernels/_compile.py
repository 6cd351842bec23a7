"""How the kernels are compiled: entries from Python, which are cached on disk, and helpers."""

from __future__ import annotations

import functools
import zlib
from pathlib import Path

from numba import njit

_OPTIONS = {"nogil": True, "error_model": "numpy"}  # no check for division by zero: loops vectorise
_CONTRACT = {"contract"}  # fused multiply-add; sums keep their order
_REORDER = {"contract", "reassoc"}


@functools.cache
def _digest():
    """Of all kernel sources: numba's cache watches only the file of the entry itself."""
    try:
        sources = sorted(Path(__file__).parent.glob("*.py"))
        return f"{zlib.crc32(b''.join(path.read_bytes() for path in sources)):08x}"
    except OSError:
        return "0"


def entry(function):
    """A compiled function called from Python, cached on disk where a directory is writable."""
    function.__qualname__ = f"{function.__name__}_{_digest()}"
    try:
        return njit(cache=True, fastmath=_CONTRACT, **_OPTIONS)(function)
    except RuntimeError:  # no place for a cache: compile in every process
        return njit(fastmath=_CONTRACT, **_OPTIONS)(function)


def entry_of_one_signature(function, signature):
    """An `entry` compiled for this signature alone, to which every call is converted."""
    dispatcher = entry(function)
    dispatcher.compile(signature)
    dispatcher.disable_compile()
    return dispatcher


def helper(function=None, *, reorder=False):
    """A compiled function called from other compiled functions only.

    It needs no wrapper for Python and no cache of its own, which halves its time to compile.
    `reorder` lets LLVM add in any order, so that sums vectorise.
    """
    if function is None:
        return functools.partial(helper, reorder=reorder)
    return njit(
        fastmath=_REORDER if reorder else _CONTRACT,
        no_cpython_wrapper=True,
        no_cfunc_wrapper=True,
        **_OPTIONS,
    )(function)
