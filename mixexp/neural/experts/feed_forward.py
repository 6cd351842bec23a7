"""Banks of two-layer experts: feed-forward and gated."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from ..routing import Routing
from .activations import Activated, Gated, Hidden
from .base import ExpertBank
from .fused import TwoLayer, fused_mix, plain_two_layer, takes_fast_path


class TwoLayerExperts(ExpertBank):
    """Experts with two stacked matrices and an elementwise map between: what both kinds share.

    Parameters
    ----------
    n_experts, dim, hidden, out_dim : int
    between : Hidden
    bias : bool
    """

    def __init__(
        self,
        n_experts: int,
        dim: int,
        hidden: int,
        out_dim: int | None,
        between: Hidden,
        bias: bool,
    ):
        out_dim = dim if out_dim is None else out_dim
        super().__init__(n_experts, dim, out_dim)
        self.hidden = hidden
        self.between = between
        wide = between.n_parts * hidden
        self.w1 = nn.Parameter(torch.empty(n_experts, dim, wide))
        self.w2 = nn.Parameter(torch.empty(n_experts, hidden, out_dim))
        self.b1 = nn.Parameter(torch.zeros(n_experts, wide)) if bias else None
        self.b2 = nn.Parameter(torch.zeros(n_experts, out_dim)) if bias else None
        for weight in (self.w1, self.w2):
            nn.init.normal_(weight, std=1 / math.sqrt(weight.shape[1]))

    @property
    def stacks(self) -> TwoLayer:
        """The stacked weights."""
        return TwoLayer(self.between, self.w1, self.w2, self.b1, self.b2)

    def forward(self, rows: Tensor, counts: list[int]) -> Tensor:
        return plain_two_layer(rows, counts, self.stacks)

    def mix(self, x: Tensor, routing: Routing) -> Tensor:
        if takes_fast_path(x, routing, list(self.parameters())):
            return fused_mix(x, routing, self.stacks)
        return super().mix(x, routing)


class FeedForwardExperts(TwoLayerExperts):
    """Experts ``act(x W1_e + b1_e) W2_e + b2_e`` with stacked weights.

    Parameters
    ----------
    n_experts, dim, hidden : int
        E, the width of a unit, and the width of the hidden layer.
    activation : {"gelu", "relu", "squared_relu", "silu", "sigmoid"}
    bias : bool
    out_dim : int, optional
        Width of the output; ``dim`` by default.

    References
    ----------
    Shazeer et al., "Outrageously large neural networks", 2017; So et al., "Primer", 2021, for the
    squared ReLU.
    """

    def __init__(
        self,
        n_experts: int,
        dim: int,
        hidden: int,
        *,
        activation: str = "gelu",
        bias: bool = False,
        out_dim: int | None = None,
    ):
        super().__init__(n_experts, dim, hidden, out_dim, Activated(activation), bias)


class GatedExperts(TwoLayerExperts):
    """Experts ``(act(x G_e) * x U_e) W2_e``: gated linear units, SwiGLU by default.

    Both first matrices are one, ``w1 = [G, U]`` of shape (E, dim, 2 hidden).

    Parameters
    ----------
    n_experts, dim, hidden : int
        E, the width of a unit, and the width of each half of the hidden layer.
    activation : {"silu", "gelu", "relu", "sigmoid", "squared_relu"}
        SwiGLU, GEGLU, ReGLU, GLU, and the squared ReLU.
    bias : bool
    out_dim : int, optional
        Width of the output; ``dim`` by default.

    References
    ----------
    Shazeer, "GLU variants improve transformer", 2020; Jiang et al., "Mixtral of experts", 2024.
    """

    def __init__(
        self,
        n_experts: int,
        dim: int,
        hidden: int,
        *,
        activation: str = "silu",
        bias: bool = False,
        out_dim: int | None = None,
    ):
        super().__init__(n_experts, dim, hidden, out_dim, Gated(activation), bias)
