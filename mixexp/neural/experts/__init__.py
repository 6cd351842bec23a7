"""Banks of experts."""

from .base import ExpertBank
from .feed_forward import FeedForwardExperts, GatedExperts
from .mlp import MLPExperts

__all__ = ["MLPExperts", "ExpertBank", "FeedForwardExperts", "GatedExperts"]
