"""Banks of experts."""

from .base import ExpertBank
from .feed_forward import FeedForwardExperts, GatedExperts

__all__ = ["ExpertBank", "FeedForwardExperts", "GatedExperts"]
