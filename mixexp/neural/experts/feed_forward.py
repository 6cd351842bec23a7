"""Banks of two-layer feed-forward experts."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .base import ExpertBank
from .mixing import split_rows

FUNCTIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "relu": F.relu,
    "gelu": F.gelu,
    "squared_relu": lambda z: F.relu(z).square(),
}


class FeedForwardExperts(ExpertBank):
    """Experts ``act(x W1_e + b1_e) W2_e + b2_e`` with stacked weights.

    Parameters
    ----------
    n_experts, dim, hidden : int
        E, the width of a unit, and the width of the hidden layer.
    activation : {"gelu", "relu", "squared_relu"}
    bias : bool
    out_dim : int, optional
        Width of the output; ``dim`` by default.
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
        out_dim = dim if out_dim is None else out_dim
        super().__init__(n_experts, dim, out_dim)
        if activation not in FUNCTIONS:
            raise ValueError(f"activation must be one of {sorted(FUNCTIONS)}; got {activation!r}.")
        self.hidden = hidden
        self.activation = activation
        self.w1 = nn.Parameter(torch.empty(n_experts, dim, hidden))
        self.w2 = nn.Parameter(torch.empty(n_experts, hidden, out_dim))
        self.b1 = nn.Parameter(torch.zeros(n_experts, hidden)) if bias else None
        self.b2 = nn.Parameter(torch.zeros(n_experts, out_dim)) if bias else None
        for weight in (self.w1, self.w2):
            nn.init.normal_(weight, std=1 / math.sqrt(weight.shape[1]))

    def forward(self, rows: Tensor, counts: list[int]) -> Tensor:
        function = FUNCTIONS[self.activation]
        # unbind once: indexing a stacked parameter expert by expert would build a gradient of the
        # full stack for each of them
        first, second = self.w1.unbind(0), self.w2.unbind(0)
        outputs = []
        for e, part in enumerate(split_rows(rows, counts)):
            inner = part @ first[e]
            if self.b1 is not None:
                inner = inner + self.b1[e]
            outer = function(inner) @ second[e]
            outputs.append(outer if self.b2 is None else outer + self.b2[e])
        return torch.cat(outputs)
