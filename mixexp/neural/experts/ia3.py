"""`IA3Experts`: one factor a column, for adapting a frozen layer."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from .base import ExpertBank


class IA3Experts(ExpertBank):
    """Experts ``x * l_e``: one factor a column, all ones in the beginning.

    Behind a frozen layer they rescale its outputs; with a dense gate they are the mixture of
    vectors, for which merged parameters and mixed outputs are the same.

    Parameters
    ----------
    n_experts, dim : int

    References
    ----------
    Liu et al., "Few-shot parameter-efficient fine-tuning is better and cheaper than in-context
    learning", 2022; Zadouri et al., "Pushing mixture of experts to the limit", 2023, section 2.
    """

    mergeable = True

    def __init__(self, n_experts: int, dim: int):
        super().__init__(n_experts, dim, dim)
        self.scale = nn.Parameter(torch.ones(n_experts, dim))

    def forward(self, rows: Tensor, counts: list[int]) -> Tensor:
        sizes = torch.tensor(counts, device=rows.device)
        return rows * torch.repeat_interleave(self.scale, sizes, 0)
