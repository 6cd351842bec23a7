"""Engines: where a pass runs. It is the rows that say where: `engine_for` chooses by their type."""

from functools import singledispatch

from ..rows import Rows
from .memory import MemoryEngine

__all__ = ["MemoryEngine", "engine_for"]


@singledispatch
def engine_for(rows, model, n_jobs=1):
    """The engine that runs passes where these rows live."""
    raise TypeError(f"No engine runs over {type(rows).__name__}.")


@engine_for.register
def _(rows: Rows, model, n_jobs=1):
    return MemoryEngine(rows, model, n_jobs)
