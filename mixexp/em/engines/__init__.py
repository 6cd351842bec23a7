"""Engines: where a pass runs."""

from .memory import MemoryEngine

__all__ = ["MemoryEngine"]
