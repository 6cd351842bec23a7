"""Embeddings of the columns of a table."""

from .categorical import CategoricalEmbedding
from .numeric import EMBEDDINGS, PeriodicEmbedding, PiecewiseLinearEmbedding
from .quantiles import quantile_edges

__all__ = [
    "EMBEDDINGS",
    "CategoricalEmbedding",
    "PeriodicEmbedding",
    "PiecewiseLinearEmbedding",
    "quantile_edges",
]
