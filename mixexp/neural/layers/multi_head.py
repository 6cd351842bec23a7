"""`MultiHeadMoE`: a unit is split into parts, and each part is routed by itself."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from ..experts import FeedForwardExperts, GatedExperts
from ..routing import Router, RouterFlags, TopKRouter
from ..routing.inputs import PER_UNIT
from .base import RoutedLayer, check_call, places
from .moe import MoELayer
from .trace import RoutingTrace


class MultiHeadMoE(RoutedLayer):
    """A layer that splits every unit into parts and routes each part by itself.

    The output is ``[moe(h_1), ..., moe(h_H)] W_merge`` with ``[h_1, ..., h_H] = x W_head``, so
    that a unit meets up to H k experts. Its parts share what is known of it: segment, position,
    padding, token, task and visible experts. The layer's statistics count parts.

    Parameters
    ----------
    moe : MoELayer
        On units of width ``dim / heads``.
    heads : int
        H, the number of parts.

    Raises
    ------
    ValueError
        For fewer than one head and for a layer that changes the width.

    References
    ----------
    Wu et al., "Multi-head mixture-of-experts", 2024, section 3; Huang et al., "MH-MoE", 2024, for
    layers of equal cost.
    """

    def __init__(self, moe: MoELayer, heads: int):
        super().__init__()
        part = moe.experts.dim
        if heads < 1:
            raise ValueError(f"heads must be at least one; got {heads}.")
        if moe.experts.out_dim != part:
            raise ValueError(
                f"the parts of a unit keep their width of {part}; the experts' out_dim is "
                f"{moe.experts.out_dim}."
            )
        self.moe = moe
        self.units_per_unit = heads
        self.head = nn.Linear(heads * part, heads * part, bias=False)
        self.merge = nn.Linear(heads * part, heads * part, bias=False)

    @property
    def heads(self) -> int:
        """H, the number of parts of a unit."""
        return self.units_per_unit

    @classmethod
    def feed_forward(
        cls,
        dim: int,
        hidden: int,
        n_experts: int,
        k: int,
        *,
        heads: int,
        router=TopKRouter,
        gated: bool = False,
        expert_options: dict[str, Any] | None = None,
        **options,
    ) -> MultiHeadMoE:
        """The multi-head layer that costs what a plain MoE layer costs.

        Active and total parameters of experts, head and merge matrix are, to rounding, those of
        ``MoELayer.feed_forward(dim, hidden, n_experts, k)``: with n matrices an expert the hidden
        layer has ``hidden - 2 dim / (n k)`` units, and there are about ``heads`` times as many
        experts. Only the router, which has more to choose from, costs more.

        Parameters
        ----------
        dim, hidden, n_experts, k : int
            Of the plain layer.
        heads : int
            A divisor of ``dim``.
        router, gated, expert_options, **options
            As in `MoELayer.feed_forward`.

        Raises
        ------
        ValueError
            If heads do not divide ``dim``, or head and merge matrix alone cost as much as the
            experts.
        """
        if dim % heads:
            raise ValueError(f"heads must divide dim={dim}; got {heads}.")
        n_matrices = 3 if gated else 2
        width = round(hidden - 2 * dim / (n_matrices * k))
        if width < 1:
            raise ValueError(
                f"head and merge matrix of width {dim} cost as much as {k} experts of {hidden} "
                "hidden units: take a larger hidden or k."
            )
        part = dim // heads
        total = n_experts * n_matrices * dim * hidden - 2 * dim * dim
        number = max(k, round(total / (n_matrices * part * width)))
        kind = GatedExperts if gated else FeedForwardExperts
        chosen: Router = router(part, number, k)
        experts = kind(number, part, width, **(expert_options or {}))
        return cls(MoELayer(chosen, experts, **options), heads)

    def flags(self, training: bool) -> RouterFlags:
        return self.moe.flags(training)

    @property
    def routed_by(self) -> str:
        return self.moe.routed_by

    def forward(self, x: Tensor, *, trace: RoutingTrace | None = None, **context) -> Tensor:
        """Outputs for x of shape (T, dim) or (batch, length, dim); context as in `MoELayer`."""
        check_call(x, trace, context)
        if x.ndim == 3:
            context = places(x) | context
        inner = {name: self._repeated(name, value, x) for name, value in context.items()}
        parts = self.head(x).reshape(-1, self.moe.experts.dim)
        y = self.moe(parts, trace=trace, **inner)
        return self.merge(y.reshape(x.shape))

    def _repeated(self, name: str, value: Any, x: Tensor) -> Any:
        """What is known of units, for their parts."""
        of_units = name in PER_UNIT or (name == "visible" and isinstance(value, Tensor))
        if not of_units or value is None or (name == "visible" and value.ndim == 1):
            return value
        flat = value.reshape(-1, *value.shape[x.ndim - 1 :])
        return torch.repeat_interleave(flat, self.heads, 0)
