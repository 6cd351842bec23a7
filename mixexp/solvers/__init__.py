"""The small quadratic problems of the M-step."""

from .newton import (
    centred,
    quadratic_change,
    softmax_newton_step,
    solve_newton,
    tied_newton_step,
)

__all__ = [
    "centred",
    "quadratic_change",
    "softmax_newton_step",
    "solve_newton",
    "tied_newton_step",
]
