"""Banks of experts."""

from .base import ExpertBank
from .feed_forward import FeedForwardExperts

__all__ = ["ExpertBank", "FeedForwardExperts"]
