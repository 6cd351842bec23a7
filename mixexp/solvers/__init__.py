"""The small quadratic problems of the M-step."""

from .newton import (
    centred,
    quadratic_change,
    softmax_newton_step,
    solve_newton,
    tied_newton_step,
)
from .penalised import (
    centred_on_support,
    centred_step,
    penalised_softmax_step,
    penalised_step,
    proximal_step,
    separable_step,
    tied_penalised_step,
)

__all__ = [
    "centred",
    "centred_on_support",
    "centred_step",
    "penalised_softmax_step",
    "penalised_step",
    "proximal_step",
    "quadratic_change",
    "separable_step",
    "softmax_newton_step",
    "solve_newton",
    "tied_newton_step",
    "tied_penalised_step",
]
