"""Embeddings of categorical columns, with a rule for categories that training did not see."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor, nn


class CategoricalEmbedding(nn.Module):
    """A learned vector for every category of every column, side by side.

    A category that training did not see (code -1) gets the mean of the column's vectors by their
    weights in training: the embedding of a row about which this column says nothing.

    Parameters
    ----------
    shares : list of ndarrays
        For each column the shares of its categories in training.
    d_embedding : int or None
        Width of a vector; None for ``min(16, ceil(1.6 n ** 0.56))`` with n categories.
    """

    def __init__(self, shares: list[np.ndarray], d_embedding: int | None = None):
        super().__init__()
        self.tables = nn.ParameterList()
        for j, share in enumerate(shares):
            n = len(share)
            d = min(16, math.ceil(1.6 * n**0.56)) if d_embedding is None else d_embedding
            self.tables.append(nn.Parameter(torch.randn(n, d) / math.sqrt(d)))
            self.register_buffer(f"share_{j}", torch.from_numpy(np.asarray(share, np.float64)))
        self.out_dim = sum(table.shape[1] for table in self.tables)

    def forward(self, codes: Tensor) -> Tensor:
        """(T, out_dim) for codes of shape (T, columns); -1 is an unseen category."""
        parts = []
        for j, table in enumerate(self.tables):
            mean = getattr(self, f"share_{j}").to(table.dtype) @ table
            # the row at the end, which -1 picks, is the mean
            parts.append(torch.cat([table, mean[None]])[codes[:, j]])
        return torch.cat(parts, 1)
