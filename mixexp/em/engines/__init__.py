"""Engines: where a pass runs. It is the rows that say where: `engine_for` chooses by their type."""

from functools import singledispatch

from ..blocked import BlockRows
from ..device import DeviceRows
from ..rows import Rows
from .blocks import BlockEngine
from .gpu import GpuEngine
from .memory import MemoryEngine

__all__ = ["BlockEngine", "GpuEngine", "MemoryEngine", "engine_for"]


@singledispatch
def engine_for(rows, model, n_jobs=1):
    """The engine that runs passes where these rows live."""
    raise TypeError(f"No engine runs over {type(rows).__name__}.")


@engine_for.register
def _(rows: Rows, model, n_jobs=1):
    return MemoryEngine(rows, model, n_jobs)


@engine_for.register
def _(rows: DeviceRows, model, n_jobs=1):
    return GpuEngine(rows, model, n_jobs)


@engine_for.register
def _(rows: BlockRows, model, n_jobs=1):
    return BlockEngine(rows, model, n_jobs)
