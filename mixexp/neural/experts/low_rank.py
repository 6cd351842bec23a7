"""Experts of low rank: adapters of a frozen base, and factorised first matrices."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from ..routing import Routing
from .activations import Gated
from .base import ExpertBank
from .feed_forward import FeedForwardExperts, GatedExperts, TwoLayerExperts
from .mixing import combined, mixed_by_gathering, split_rows


class LoRAExperts(ExpertBank):
    """A frozen base that all experts share, each with low-rank updates of its own.

    Every matrix W of the base becomes ``W + (alpha / rank) A_e B_e``; with ``B_e = 0`` in the
    beginning all experts are the base. What the base alone computes is computed once a unit,
    whatever the number of experts it goes to.

    Parameters
    ----------
    base : nn.Linear, or FeedForwardExperts or GatedExperts with one expert
        Its parameters are frozen.
    n_experts, rank : int
    alpha : float, optional
        Scale of the updates times the rank; ``rank`` by default.

    Raises
    ------
    ValueError
        For another base or a rank below one.

    References
    ----------
    Hu et al., "LoRA", 2022; Zadouri et al., "Pushing mixture of experts to the limit", 2023
    (linear base); Li et al., "MixLoRA", 2024 (feed-forward base).
    """

    def __init__(self, base: nn.Module, n_experts: int, rank: int, *, alpha: float | None = None):
        one_expert = isinstance(base, TwoLayerExperts) and base.n_experts == 1
        if not (isinstance(base, nn.Linear) or one_expert):
            raise ValueError(
                "LoRAExperts needs a base that is nn.Linear, or FeedForwardExperts or "
                f"GatedExperts with n_experts=1; got {type(base).__name__}."
            )
        if rank < 1:
            raise ValueError(f"rank must be at least one; got {rank}.")
        shapes = [tuple(matrix.shape) for matrix, _ in _affine_maps(base)]
        super().__init__(n_experts, shapes[0][0], shapes[-1][1])
        self.base = base.requires_grad_(False)
        self.rank = rank
        self.scale = 1.0 if alpha is None else alpha / rank
        self.down = nn.ParameterList(
            torch.empty(n_experts, n, rank).normal_(std=1 / math.sqrt(n)) for n, _ in shapes
        )
        self.up = nn.ParameterList(torch.zeros(n_experts, rank, m) for _, m in shapes)

    @property
    def cost(self) -> Tensor:
        base = sum(p.numel() for p in self.base.parameters())
        own = sum(p[0].numel() for p in [*self.down, *self.up])
        return torch.full((self.n_experts,), float(base + own))

    def forward(self, rows: Tensor, counts: list[int]) -> Tensor:
        out = rows
        for i, (matrix, bias) in enumerate(_affine_maps(self.base)):
            if i:
                out = self.base.between.plain(out)
            mapped = out @ matrix + self.update(i, out, counts)
            out = mapped if bias is None else mapped + bias
        return out

    def update(self, i: int, rows: Tensor, counts: list[int]) -> Tensor:
        """What the experts add to the base's i-th map for rows sorted by expert."""
        down, up = self.down[i].unbind(0), self.up[i].unbind(0)
        parts = [part @ down[e] @ up[e] for e, part in enumerate(split_rows(rows, counts))]
        return self.scale * torch.cat(parts)

    def mix(self, x: Tensor, routing: Routing) -> Tensor:
        if routing.slot_expert is not None:
            return mixed_by_gathering(self, x, routing)
        counts = routing.counts.tolist()
        maps = _affine_maps(self.base)
        rows = x[routing.unit]
        if len(maps) == 2:
            inner = x @ maps[0][0]
            inner = inner if maps[0][1] is None else inner + maps[0][1]
            rows = self.base.between.plain(inner[routing.unit] + self.update(0, rows, counts))
        # the base's last map is linear: units are summed before it
        matrix, bias = maps[-1]
        y = combined(rows, routing) @ matrix
        y = y + combined(self.update(len(maps) - 1, rows, counts), routing)
        if bias is None:
            return y
        total = routing.weight.new_zeros(routing.n_units)
        total = total.index_add(0, routing.unit, routing.weight)
        return y + total.to(y.dtype)[:, None] * bias

    def materialised(self) -> TwoLayerExperts:
        """The same experts with whole matrices, for a feed-forward or gated base."""
        if not isinstance(self.base, TwoLayerExperts):
            raise ValueError("LoRAExperts of nn.Linear have no feed-forward form.")
        base = self.base
        kind = GatedExperts if isinstance(base.between, Gated) else FeedForwardExperts
        bank = kind(
            self.n_experts, self.dim, base.hidden_sizes[0], activation=base.between.activation,
            bias=base.b1 is not None, out_dim=self.out_dim,
        ).to(base.w1)  # fmt: skip
        with torch.no_grad():
            for name, down, up in zip(("w1", "w2"), self.down, self.up):
                whole = getattr(base, name) + self.scale * down @ up
                getattr(bank, name).copy_(whole)
            for own, shared in ((bank.b1, base.b1), (bank.b2, base.b2)):
                if own is not None and shared is not None:
                    own.copy_(shared.expand_as(own))
        return bank


def _affine_maps(base) -> list[tuple[Tensor, Tensor | None]]:
    """Matrix (in, out) and bias of each map of the base."""
    if isinstance(base, nn.Linear):
        return [(base.weight.t(), base.bias)]
    return [(base.w1[0], None if base.b1 is None else base.b1[0]),
            (base.w2[0], None if base.b2 is None else base.b2[0])]  # fmt: skip


class FactorizedExperts(ExpertBank):
    """Gated experts ``(act(x D_e U_e) * x V_e) W_e`` with a first matrix ``D_e U_e`` of low rank.

    The activations ``x D_e``, which `probe` gives for all experts, are cheap to compute and say
    how much an expert responds: experts choose for themselves, without a router's own weights.

    Parameters
    ----------
    n_experts, dim, hidden, rank : int
        E, the width of a unit, of the hidden layer, and of the factorisation.
    activation : str
        As in `GatedExperts`.
    out_dim : int, optional
        Width of the output; ``dim`` by default.

    References
    ----------
    Lv et al., "Autonomy-of-Experts models", 2025, section 3.
    """

    def __init__(
        self,
        n_experts: int,
        dim: int,
        hidden: int,
        rank: int,
        *,
        activation: str = "silu",
        out_dim: int | None = None,
    ):
        out_dim = dim if out_dim is None else out_dim
        super().__init__(n_experts, dim, out_dim)
        self.between = Gated(activation)
        shapes = [(dim, rank), (rank, hidden), (dim, hidden), (hidden, out_dim)]
        self.down, self.up, self.linear, self.out = (
            nn.Parameter(torch.empty(n_experts, n, m).normal_(std=1 / math.sqrt(n)))
            for n, m in shapes
        )

    def probe(self, x: Tensor) -> Tensor:
        """Activations ``x D_e`` of all experts, shape (T, E, rank)."""
        return torch.einsum("td,edr->ter", x, self.down.to(x.dtype))

    def forward(self, rows: Tensor, counts: list[int]) -> Tensor:
        down, up, linear, out = (
            stack.unbind(0) for stack in (self.down, self.up, self.linear, self.out)
        )
        outputs = []
        for e, part in enumerate(split_rows(rows, counts)):
            z = torch.cat([part @ down[e] @ up[e], part @ linear[e]], -1)
            outputs.append(self.between.plain(z) @ out[e])
        return torch.cat(outputs)
