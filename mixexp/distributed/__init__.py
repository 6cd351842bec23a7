"""Mixtures of experts from partitions that are fitted alone: only parameters leave them."""

from .aggregate import Aggregation, aggregate
from .between import transport_divergence
from .estimators import AggregatedMoEClassifier, AggregatedMoERegressor
from .local import LocalFit, Moments
from .pooled import pooled_inference
from .refine import LocalStatistics, local_statistics, refine

__all__ = [
    "AggregatedMoEClassifier",
    "AggregatedMoERegressor",
    "Aggregation",
    "LocalFit",
    "LocalStatistics",
    "Moments",
    "aggregate",
    "local_statistics",
    "pooled_inference",
    "refine",
    "transport_divergence",
]
