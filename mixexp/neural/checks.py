"""Checks of arguments that many parts of the neural half share."""

from __future__ import annotations

import numbers
from collections.abc import Collection


def check_option(name: str, value, known: Collection) -> None:
    """Refuse a value that is none of the known ones."""
    if value not in known:
        raise ValueError(f"{name} must be one of {known}; got {value!r}.")


def check_k(k: int, n_experts: int) -> None:
    """Refuse a number of experts a unit that is not there."""
    if not isinstance(k, numbers.Integral):
        raise ValueError(f"k must be a whole number from 1 to n_experts={n_experts}; got {k!r}.")
    if not 1 <= k <= n_experts:
        raise ValueError(f"k must be from 1 to n_experts={n_experts}; got {k}.")
