"""Losses of routing, unscaled, one layer each."""

from .balance import load_balancing_loss

__all__ = ["load_balancing_loss"]
