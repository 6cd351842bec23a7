"""`ExpertBank`: E experts with stacked weights, called with rows sorted by expert."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

import torch
from torch import Tensor, nn

from ..routing import Routing
from .merging import merged_by_unit
from .mixing import mixed_by_gathering


class ExpertBank(nn.Module, ABC):
    """E functions from ``dim`` to ``out_dim`` columns.

    Parameters
    ----------
    n_experts, dim, out_dim : int
    """

    # whether every parameter has the experts first, so that a sum over experts is an expert
    mergeable: ClassVar[bool] = False

    def __init__(self, n_experts: int, dim: int, out_dim: int):
        super().__init__()
        if n_experts < 1 or dim < 1 or out_dim < 1:
            raise ValueError(
                f"{type(self).__name__} needs at least one expert and one column in and out; got "
                f"n_experts={n_experts}, dim={dim}, out_dim={out_dim}."
            )
        self.n_experts = n_experts
        self.dim = dim
        self.out_dim = out_dim

    @property
    def cost(self) -> Tensor:
        """Parameters that a row pays in each expert, shape (E,); equal shares unless overridden."""
        total = sum(parameter.numel() for parameter in self.parameters())
        return torch.full((self.n_experts,), total / self.n_experts)

    @property
    def null(self) -> Tensor:
        """Which experts are null experts, whose output is zero, shape (E,)."""
        return torch.zeros(self.n_experts, dtype=torch.bool)

    @property
    def has_null(self) -> bool:
        """Whether any expert is a null expert."""
        return False

    @abstractmethod
    def forward(self, rows: Tensor, counts: list[int]) -> Tensor:
        """Outputs of shape (N, out_dim) for rows of shape (N, dim).

        The first ``counts[0]`` rows are expert 0's, the next ``counts[1]`` expert 1's, and so on.
        """

    def mix(self, x: Tensor, routing: Routing) -> Tensor:
        """``sum_n weight_n f_n(x_{unit_n})`` for every unit, shape (T, out_dim).

        Banks with a faster way of their own override it; all ways agree to rounding, in values
        and gradients.
        """
        return mixed_by_gathering(self, x, routing)

    def mix_merged(self, x: Tensor, routing: Routing) -> Tensor:
        """Outputs of each unit's merged expert, shape (T, out_dim).

        The merged expert has the parameters ``sum_e weight_te theta_e``; for a `mergeable` bank.
        """
        return merged_by_unit(self, x, routing)

    def probe(self, x: Tensor) -> Tensor:
        """First activations of all experts for units of shape (T, dim), shape (T, E, r).

        Read by routers that choose experts by how they respond; in the precision of ``x``.
        """
        raise NotImplementedError(
            f"{type(self).__name__} has no probe. Use FactorizedExperts, a bank of two layers, or "
            "a bank that defines probe(x)."
        )

    def every(self, x: Tensor) -> Tensor:
        """All experts on all rows, shape (E, T, out_dim): the dense reference."""
        rows = x.repeat(self.n_experts, 1)
        n = x.shape[0]
        return self(rows, [n] * self.n_experts).view(self.n_experts, n, self.out_dim)
