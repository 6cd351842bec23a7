"""Scores of experts from the states of the units, the activations that turn them into weights."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class LinearScore(nn.Module):
    """Scores ``x W' (+ b)`` of shape (T, E), computed in the precision of ``x``.

    Parameters
    ----------
    dim, n_experts : int
    bias : bool
    std : float, optional
        Standard deviation of the initial weights; ``1 / sqrt(dim)`` by default, so that scores of
        standardised inputs begin with unit variance.
    """

    def __init__(self, dim: int, n_experts: int, *, bias: bool = False, std: float | None = None):
        super().__init__()
        self.weight = nn.Parameter(torch.empty(n_experts, dim))
        self.bias = nn.Parameter(torch.zeros(n_experts)) if bias else None
        nn.init.normal_(self.weight, std=1 / math.sqrt(dim) if std is None else std)

    def forward(self, x: Tensor) -> Tensor:
        bias = None if self.bias is None else self.bias.to(x.dtype)
        return F.linear(x, self.weight.to(x.dtype), bias)


def standardise(logits: Tensor, scale: float) -> Tensor:
    """Logits with mean 0 and standard deviation ``scale`` in every row (Skywork-MoE, eq. 5).

    Rows without spread (one expert, equal logits) become zero.
    """
    centred = logits - logits.mean(-1, keepdim=True)
    spread = centred.square().mean(-1, keepdim=True)
    safe = torch.where(spread > 0, spread, 1.0).sqrt()
    return scale * centred / safe


ACTIVATIONS = {
    "softmax": lambda scores: torch.softmax(scores, -1),
    "sigmoid": torch.sigmoid,
    "relu": torch.relu,
}


def activate(scores: Tensor, kind: str, visible: Tensor | None = None) -> Tensor:
    """Weights from scores; exactly zero at experts that may not be chosen, without NaN."""
    if visible is None:
        return ACTIVATIONS[kind](scores)
    if kind == "softmax":
        hidden = scores.masked_fill(~visible, -torch.inf)
        # a row that sees no expert is padding: it gets finite scores and is never used
        blind = ~visible.any(-1, keepdim=True)
        return torch.softmax(hidden.masked_fill(blind, 0.0), -1)
    return ACTIVATIONS[kind](scores).masked_fill(~visible, 0.0)


def probabilities(weights: Tensor, kind: str) -> Tensor:
    """Weights as probabilities: rows that sum to one, for balance losses."""
    if kind == "softmax":
        return weights
    return weights / weights.sum(-1, keepdim=True).clamp_min(torch.finfo(weights.dtype).tiny)
