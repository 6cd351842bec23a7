"""Mixtures of experts from partitions that are fitted alone: only parameters leave them."""

from .aggregate import Aggregation, aggregate
from .local import LocalFit, Moments

__all__ = ["Aggregation", "LocalFit", "Moments", "aggregate"]
