"""What a gate and an expert have in common: parameters from statistics, penalised and packed."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

from ._component import Component


class Part(Component, ABC):
    """The gate or the experts of a model.

    Parameters travel as NamedTuples of arrays with K first; methods marked *batched* accept
    further leading axes, so that many starts advance together.
    """

    kernel: ClassVar[str | None] = None  # its half of the name of a fused kernel, if it has one
    sparse = False  # True where its penalty may set slopes to zero
    centres_slopes = False  # True where slopes sum to zero over the members that a penalty sees
    compiled_m_step = False  # True where `kernels.m_steps` knows its M-step

    @abstractmethod
    def m_step(self, params, stats):
        """Parameters that raise the penalised surrogate (batched)."""

    @abstractmethod
    def gradient(self, params, stats):
        """Gradient of the penalised objective per unit weight, in the order of `pack` (batched)."""

    @abstractmethod
    def penalty_value(self, params):
        """Penalty per unit weight (batched)."""

    @abstractmethod
    def pack(self, params):
        """Unconstrained vector of the parameters, last axis (batched)."""

    @abstractmethod
    def unpack(self, vector, params):
        """Parameters from a vector; ``params`` gives the shapes (batched)."""

    @abstractmethod
    def n_free(self, params) -> int:
        """Number of free parameters, for criteria."""

    def slopes(self, params) -> tuple[int, int]:
        """The slopes that `n_free` counts, and those it would count if none were set to zero.

        (0, 0) for a part without slopes.
        """
        return 0, 0

    @abstractmethod
    def rescale(self, params, columns, old, new):
        """Parameters on another standardisation of X, and of an expert's target (two `Scaling`)."""
