"""`FeedForward`: one expert for every unit, as shared part, and as the dense baseline."""

from __future__ import annotations

from torch import Tensor, nn

from ..experts import FeedForwardExperts, GatedExperts


class FeedForward(nn.Module):
    """A two-layer map of every unit: what all units share, or the layer that a MoE replaces.

    Parameters
    ----------
    dim, hidden : int
    gated : bool
        Whether the hidden layer is gated, as in `GatedExperts`.
    **options
        ``activation``, ``bias`` and ``out_dim`` of `FeedForwardExperts` or `GatedExperts`.
    """

    def __init__(self, dim: int, hidden: int, *, gated: bool = False, **options):
        super().__init__()
        kind = GatedExperts if gated else FeedForwardExperts
        self.expert = kind(1, dim, hidden, **options)

    def forward(self, x: Tensor) -> Tensor:
        flat = x.reshape(-1, x.shape[-1])
        return self.expert(flat, [len(flat)]).view(*x.shape[:-1], self.expert.out_dim)
