"""Schedules of the learning rate: factors of it over the training."""

from __future__ import annotations

import math


def constant(progress: float) -> float:
    """One throughout."""
    return 1.0


def cosine(progress: float) -> float:
    """From one to zero along half a cosine (Loshchilov and Hutter, 2017)."""
    return 0.5 * (1 + math.cos(math.pi * min(1.0, progress)))


SCHEDULES = {"constant": constant, "cosine": cosine}


def factor(name: str, step: int, total: int | None, warmup: int) -> float:
    """Factor of the learning rate at a step: linear warm-up, then the schedule."""
    if step < warmup:
        return (step + 1) / warmup
    if total is None:
        return 1.0
    return SCHEDULES[name]((step - warmup) / max(1, total - warmup))
