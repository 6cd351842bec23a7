"""What a gate and an expert have in common: parameters from statistics, penalised and packed."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

import numpy as np

from ._component import Component


class Part(Component, ABC):
    """The gate or the experts of a model.

    Parameters travel as NamedTuples of arrays with K first; methods marked *batched* accept
    further leading axes, so that many starts advance together.
    """

    kernel: ClassVar[str | None] = None  # its half of the name of a fused kernel, if it has one
    sparse = False  # True where its penalty may set slopes to zero
    centres_slopes = False  # True where slopes sum to zero over the members that a penalty sees
    # False where the density is not twice differentiable in the parameters: what needs
    # second derivatives refuses the part by its title (`MoEModel.kinked`)
    smooth = True
    own_derivatives = False  # True where `row_derivatives` and `surrogate_hessian` are there
    compiled_m_step = False  # True where `kernels.m_steps` knows its M-step

    @property
    def title(self) -> str:
        """What tables call the part."""
        return type(self).__name__

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

    def layout(self, params):
        """(K, J, q) places in `pack` of the coefficients of J row-level predictors, -1 for none.

        None for a part that is not made of linear predictors; else it has `row_unit`, and
        inference takes its derivatives from there, not from differences.
        """
        return None

    def contrasts(self, params, names, reference):
        """Names and linear forms of the free parameters that inference reports.

        Parameters
        ----------
        params : one parameter set, on the user's scale
        names : sequence of str
            The part's columns.
        reference : int
            The expert that a gate's logits are relative to.

        Returns
        -------
        names : list of f str
        forms : (f, d) array
            The reported parameters are ``forms @ pack(params)``.
        """
        d = len(self.pack(params))
        title = getattr(type(self), "name", type(self).__name__)
        return [f"{title}[{i}]" for i in range(d)], np.eye(d)

    @abstractmethod
    def rescale(self, params, columns, old, new):
        """Parameters on another standardisation of X, and of an expert's target (two `Scaling`)."""
