"""Selections of experts from scores: pure functions, ties broken by the expert's index."""

from __future__ import annotations

import torch
from torch import Tensor


def top_k(scores: Tensor, k: int) -> Tensor:
    """The k largest of each row, best first, the lower index first among equals; shape (T, k).

    `torch.topk` leaves the order of equals open, and devices differ. A stable sort is exact; it
    is spared where no row has equals at the border or among the chosen.
    """
    n = scores.shape[1]
    scores = scores.detach()
    if torch.compiler.is_compiling() or scores.device.type != "cpu" or k >= n:
        return torch.sort(scores, dim=1, descending=True, stable=True).indices[:, :k]
    values, index = torch.topk(scores, min(k + 1, n), dim=1)
    tied = (values[:, 1:] == values[:, :-1]).any(1)
    if tied.any():
        exact = torch.sort(scores[tied], dim=1, descending=True, stable=True).indices
        index[tied] = exact[:, : index.shape[1]]
    return index[:, :k]
