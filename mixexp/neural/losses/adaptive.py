"""Coefficients of losses that follow what the router does."""

from __future__ import annotations

import torch
from torch import Tensor

from ..precision import PreciseBuffers
from ..routing import RoutingStats


class AdaptiveLossCoefficient(PreciseBuffers):
    """The coefficient of one layer's balance loss, in proportion to its drop rate d.

    `update` moves it once a step: ``a <- decay * a + (1 - decay) * min(ratio * d, maximum)``. A
    layer that drops nothing needs no balance loss, and its coefficient fades. Nothing else
    changes it; it is a buffer in float32, whatever precision the model has.

    Parameters
    ----------
    ratio : float
        Coefficient for one unit of drop rate.
    maximum : float
    decay : float
        Weight of the past, from 0 to below 1.
    initial : float, optional
        ``maximum`` by default.
    capacity_factor : float, optional
        For layers without a limit: d is then the share of choices that a capacity of this factor
        times the mean count would have dropped. By default d is what was dropped.

    Raises
    ------
    ValueError
        For numbers outside their ranges.

    References
    ----------
    Wei et al., "Skywork-MoE: a deep dive into training techniques for mixture-of-experts language
    models", 2024, section 4.2.
    """

    coefficient: Tensor

    def __init__(
        self,
        *,
        ratio: float = 0.2,
        maximum: float = 0.01,
        decay: float = 0.99,
        initial: float | None = None,
        capacity_factor: float | None = None,
    ):
        super().__init__()
        if ratio < 0 or maximum <= 0 or not 0 <= decay < 1:
            raise ValueError(
                "an adaptive coefficient needs ratio >= 0, maximum > 0 and 0 <= decay < 1; got "
                f"ratio={ratio}, maximum={maximum}, decay={decay}."
            )
        if capacity_factor is not None and capacity_factor <= 0:
            raise ValueError(f"capacity_factor must be positive; got {capacity_factor}.")
        self.ratio = ratio
        self.maximum = maximum
        self.decay = decay
        self.capacity_factor = capacity_factor
        start = maximum if initial is None else initial
        self.register_buffer("coefficient", torch.tensor(start, dtype=torch.float32))

    def forward(self, loss: Tensor) -> Tensor:
        """The loss times the coefficient, which carries no gradient."""
        return self.coefficient * loss

    def drop_rate(self, stats: RoutingStats) -> Tensor:
        """Share of the choices that were dropped, or would have been, shape ()."""
        counts = stats.counts.detach()
        total = counts.sum()
        if self.capacity_factor is None:
            lost = torch.zeros_like(total) if stats.n_dropped is None else stats.n_dropped
        else:
            lost = (counts - self.capacity_factor * counts.mean()).clamp_min(0).sum()
        return lost / total.clamp_min(1.0)

    @torch.no_grad()
    def update(self, stats: RoutingStats) -> None:
        """Move the coefficient by one step, from the step's statistics of its layer."""
        aim = (self.ratio * self.drop_rate(stats)).clamp_max(self.maximum)
        self.coefficient.mul_(self.decay).add_((1 - self.decay) * aim.to(self.coefficient))
