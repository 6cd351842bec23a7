"""From a table in a file to columns of numbers, and models that predict from such tables."""

from mixexp.tables.loading import load
from mixexp.tables.model import TableModel

__all__ = ["TableModel", "load"]
