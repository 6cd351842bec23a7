"""Sources: data as blocks of rows, in files, arrays on disk, or whatever can be iterated again."""

from .base import ROW_INPUTS, Block, BlockSource, Source

__all__ = ["ROW_INPUTS", "Block", "BlockSource", "Source"]
