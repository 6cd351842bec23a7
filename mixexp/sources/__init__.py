"""Sources: data as blocks of rows, in files, arrays on disk, or whatever can be iterated again."""

from .arrays import ArrayDataset
from .base import ROW_INPUTS, Block, BlockSource, PlacedError, Source, read_ahead
from .files import FileDataset
from .iterables import BlockDataset

__all__ = [
    "ROW_INPUTS",
    "ArrayDataset",
    "Block",
    "BlockDataset",
    "BlockSource",
    "FileDataset",
    "PlacedError",
    "Source",
    "read_ahead",
]
