"""Banks of experts that are whole multilayer perceptrons."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..checks import check_option
from ..routing import Routing
from .base import ExpertBank
from .mixing import split_rows

FUNCTIONS: dict[str, Callable[[Tensor], Tensor]] = {"relu": F.relu, "gelu": F.gelu, "silu": F.silu}


class MLPExperts(ExpertBank):
    """Experts with ``n_layers`` hidden layers of width ``hidden`` each, with stacked weights.

    Where every unit goes to every expert (dense gates) all experts are computed as batched
    products.

    Parameters
    ----------
    n_experts, dim, hidden : int
        E, the width of a unit, and the width of a hidden layer of one expert.
    n_layers : int
        Hidden layers; 0 for linear experts.
    out_dim : int, optional
        Width of the output; ``dim`` by default.
    activation : {"relu", "gelu", "silu"}
    bias : bool

    References
    ----------
    Chernov, "(GG) MoE vs. MLP on tabular data", 2025: E experts of width d / E have a factor E
    fewer weights between hidden layers than one network of width d.
    """

    mergeable = True

    def __init__(
        self,
        n_experts: int,
        dim: int,
        hidden: int,
        *,
        n_layers: int = 1,
        out_dim: int | None = None,
        activation: str = "relu",
        bias: bool = True,
    ):
        super().__init__(n_experts, dim, dim if out_dim is None else out_dim)
        check_option("activation", activation, sorted(FUNCTIONS))
        if n_layers < 0:
            raise ValueError(f"n_layers must not be negative; got {n_layers}.")
        self.activation = activation
        widths = [dim, *[hidden] * n_layers, self.out_dim]
        self.weights, self.biases = nn.ParameterList(), nn.ParameterList()
        for a, b in itertools.pairwise(widths):
            weight = torch.empty(n_experts, a, b)
            nn.init.normal_(weight, std=1 / math.sqrt(a))
            self.weights.append(nn.Parameter(weight))
            if bias:
                self.biases.append(nn.Parameter(torch.zeros(n_experts, b)))

    def forward(self, rows: Tensor, counts: list[int]) -> Tensor:
        # unbind once: indexing a stacked parameter expert by expert would build a gradient of the
        # full stack for each of them
        weights = [weight.unbind(0) for weight in self.weights]
        biases = [bias.unbind(0) for bias in self.biases]
        outputs = []
        for e, part in enumerate(split_rows(rows, counts)):
            own = [(w[e], biases[i][e] if biases else None) for i, w in enumerate(weights)]
            outputs.append(self._network(part, own))
        return torch.cat(outputs)

    def probe(self, x: Tensor) -> Tensor:
        """First activations, before the function behind the first matrix, shape (T, E, width)."""
        first = torch.einsum("td,edh->teh", x, self.weights[0].to(x.dtype))
        return first + self.biases[0].to(x.dtype) if len(self.biases) else first

    def every(self, x: Tensor) -> Tensor:
        """All experts on all rows, shape (E, T, out_dim)."""
        pairs = [
            (weight, self.biases[i][:, None] if len(self.biases) else None)
            for i, weight in enumerate(self.weights)
        ]
        return self._network(x.expand(self.n_experts, *x.shape), pairs)

    def mix(self, x: Tensor, routing: Routing) -> Tensor:
        """The weighted sum of the chosen experts' outputs, shape (T, out_dim)."""
        dense = routing.slot_expert is None and routing.n_pairs == len(x) * self.n_experts
        if not dense:
            return super().mix(x, routing)
        return torch.einsum("eto,te->to", self.every(x), routing.weights().to(x.dtype))

    def _network(self, x: Tensor, layers) -> Tensor:
        for i, (weight, bias) in enumerate(layers):
            x = x @ weight if bias is None else x @ weight + bias
            if i < len(layers) - 1:
                x = FUNCTIONS[self.activation](x)
        return x
