"""Banks of two-layer experts: feed-forward and gated."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from ..routing import Routing
from .activations import Activated, Gated, Hidden
from .base import ExpertBank
from .fused import fused_mix, takes_fast_path
from .merging import merged_two_layer
from .two_layer import TwoLayer, plain_two_layer


class TwoLayerExperts(ExpertBank):
    """Experts with two matrices and an elementwise map between: what all such banks share.

    Parameters
    ----------
    dim, out_dim : int
    between : Hidden
    hidden_sizes : list of int
        Width of the hidden layer of each expert.
    bias : bool
    """

    def __init__(
        self, dim: int, out_dim: int, between: Hidden, hidden_sizes: list[int], bias: bool
    ):
        super().__init__(len(hidden_sizes), dim, out_dim)
        if min(hidden_sizes) < 1:
            raise ValueError(
                f"{type(self).__name__} needs at least one hidden unit in every expert; got "
                f"hidden={min(hidden_sizes)}."
            )
        self.between = between
        self.hidden_sizes = tuple(hidden_sizes)
        same = len(set(hidden_sizes)) == 1
        self._widths = None if same else self.hidden_sizes
        E, h, total = self.n_experts, hidden_sizes[0], sum(hidden_sizes)
        wide = between.n_parts * (h if same else total)
        self.w1 = nn.Parameter(torch.empty((E, dim, wide) if same else (dim * wide,)))
        self.w2 = nn.Parameter(torch.empty((E, h, out_dim) if same else (total, out_dim)))
        self.b1 = nn.Parameter(torch.zeros((E, wide) if same else (wide,))) if bias else None
        self.b2 = nn.Parameter(torch.zeros(E, out_dim)) if bias else None
        with torch.no_grad():
            for first, second in zip(*self.weights.views()[:2]):
                first.normal_(std=1 / math.sqrt(dim))
                second.normal_(std=1 / math.sqrt(len(second)))

    @property
    def weights(self) -> TwoLayer:
        """The weights of all experts."""
        return TwoLayer(self.between, self.w1, self.w2, self.b1, self.b2, self._widths)

    @property
    def cost(self) -> Tensor:
        columns = self.between.n_parts * (self.dim + (self.b1 is not None)) + self.out_dim
        fixed = 0 if self.b2 is None else self.out_dim
        return torch.tensor([float(h * columns + fixed) for h in self.hidden_sizes])

    def probe(self, x: Tensor) -> Tensor:
        """First activations, before the map between the layers; all experts must have one width."""
        if self._widths is not None:
            raise NotImplementedError(
                f"{type(self).__name__} has experts of different widths and no probe. Use experts "
                "of one width, or FactorizedExperts."
            )
        first = torch.einsum("td,edh->teh", x, self.w1.to(x.dtype))
        return first if self.b1 is None else first + self.b1.to(x.dtype)

    def forward(self, rows: Tensor, counts: list[int]) -> Tensor:
        return plain_two_layer(rows, counts, self.weights)

    def mix(self, x: Tensor, routing: Routing) -> Tensor:
        if takes_fast_path(x, routing, list(self.parameters())):
            return fused_mix(x, routing, self.weights)
        return super().mix(x, routing)

    def mix_merged(self, x: Tensor, routing: Routing) -> Tensor:
        return merged_two_layer(self.weights, x, routing)


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

    mergeable = True

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
        width = dim if out_dim is None else out_dim
        super().__init__(dim, width, Activated(activation), [hidden] * n_experts, bias)


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

    mergeable = True

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
        width = dim if out_dim is None else out_dim
        super().__init__(dim, width, Gated(activation), [hidden] * n_experts, bias)


class HeterogeneousExperts(TwoLayerExperts):
    """Feed-forward or gated experts that differ in the width of their hidden layer.

    The weights of all experts are one flat tensor each, expert after expert (``weights.views()``
    are those of each). A row pays for the width of its expert alone, see ``cost``.

    Parameters
    ----------
    hidden_sizes : list of int
        Width of the hidden layer of each expert; an arithmetic progression is the published
        choice.
    dim : int
        Width of a unit.
    gated : bool
        Whether the hidden layer is gated.
    activation : str, optional
        As in `FeedForwardExperts` and `GatedExperts`; ``"gelu"``, or ``"silu"`` where gated.
    bias : bool
    out_dim : int, optional
        Width of the output; ``dim`` by default.

    Raises
    ------
    ValueError
        For no expert, and for one without hidden units.

    References
    ----------
    Wang et al., "HMoE: heterogeneous mixture of experts for language modeling", 2024.
    """

    def __init__(
        self,
        hidden_sizes: list[int],
        dim: int,
        *,
        gated: bool = False,
        activation: str | None = None,
        bias: bool = False,
        out_dim: int | None = None,
    ):
        sizes = [int(h) for h in hidden_sizes]
        if not sizes or min(sizes) < 1:
            raise ValueError(
                f"HeterogeneousExperts needs one positive width for each expert; got {sizes}."
            )
        between = Gated(activation or "silu") if gated else Activated(activation or "gelu")
        super().__init__(dim, dim if out_dim is None else out_dim, between, sizes, bias)
