"""Experts that cost next to nothing: zero, copy and constant, for the units that need no more."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ..routing import Routing
from .base import ExpertBank
from .mixing import split_rows


class ZeroExperts(ExpertBank):
    """Experts whose output is zero: null experts, to which no row is sent.

    Behind a router that normalises its weights they have weight zero, and the weights of a unit's
    other experts sum to one; of a unit with null experts alone all weights are zero.

    Parameters
    ----------
    n_experts, dim : int
    out_dim : int, optional
        Width of the output; ``dim`` by default.

    Notes
    -----
    With ``k`` choices among true and null experts a unit has from none to k true ones. The balance
    loss of AdaMoE, which asks for an average use of null experts and no more, is
    `load_balancing_loss` with all null experts in one of its ``groups``.

    References
    ----------
    Jin et al., "MoE++", 2024, section 3.1; Zeng et al., "AdaMoE", 2024, for null experts.
    """

    def __init__(self, n_experts: int, dim: int, *, out_dim: int | None = None):
        super().__init__(n_experts, dim, dim if out_dim is None else out_dim)

    def forward(self, rows: Tensor, counts: list[int]) -> Tensor:
        return rows.new_zeros(rows.shape[0], self.out_dim)

    def mix(self, x: Tensor, routing: Routing) -> Tensor:
        return x.new_zeros(routing.n_units, self.out_dim)

    @property
    def null(self) -> Tensor:
        return torch.ones(self.n_experts, dtype=torch.bool)

    @property
    def has_null(self) -> bool:
        return True


class CopyExperts(ExpertBank):
    """Experts whose output is their input.

    Parameters
    ----------
    n_experts, dim : int

    References
    ----------
    Jin et al., "MoE++", 2024, section 3.1.
    """

    def __init__(self, n_experts: int, dim: int):
        super().__init__(n_experts, dim, dim)

    def forward(self, rows: Tensor, counts: list[int]) -> Tensor:
        return rows

    def mix(self, x: Tensor, routing: Routing) -> Tensor:
        if routing.slot_expert is not None:
            return super().mix(x, routing)
        share = routing.weight.new_zeros(routing.n_units)
        share = share.index_add(0, routing.unit, routing.weight)
        return share.to(x.dtype)[:, None] * x


class ConstantExperts(ExpertBank):
    """Experts ``a_1 x + a_2 v_e`` with ``[a_1, a_2] = softmax(x C_e)`` and a learned vector v_e.

    Parameters
    ----------
    n_experts, dim : int

    References
    ----------
    Jin et al., "MoE++", 2024, section 3.1.
    """

    def __init__(self, n_experts: int, dim: int):
        super().__init__(n_experts, dim, dim)
        self.vector = nn.Parameter(torch.empty(n_experts, dim).normal_(std=dim**-0.5))
        self.share = nn.Parameter(torch.empty(n_experts, dim, 2).normal_(std=dim**-0.5))

    def forward(self, rows: Tensor, counts: list[int]) -> Tensor:
        shares, vectors = self.share.unbind(0), self.vector.unbind(0)
        outputs = []
        for e, part in enumerate(split_rows(rows, counts)):
            own, constant = torch.softmax(part @ shares[e], -1).unsqueeze(-1).unbind(1)
            outputs.append(own * part + constant * vectors[e])
        return torch.cat(outputs)
