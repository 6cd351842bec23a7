"""`RoutedLayer`, the base of layers whose experts are chosen by a router."""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn

from ..routing import RouterFlags
from ..routing.inputs import check_fields
from .trace import RoutingTrace


class RoutedLayer(nn.Module, ABC):
    """A map of units whose experts are chosen by a router.

    Nothing is stored on the module by a call: routings go to the caller's `RoutingTrace`.
    """

    units_per_unit: int = 1  # units that are routed for each unit that enters

    @abstractmethod
    def flags(self, training: bool) -> RouterFlags:
        """What the layer's routing promises in training or at prediction."""

    @property
    @abstractmethod
    def routed_by(self) -> str:
        """Name of what decides, for messages."""

    @abstractmethod
    def forward(self, x: Tensor, *, trace: RoutingTrace | None = None, **context) -> Tensor:
        """Outputs for x of shape (T, dim) or (batch, length, dim)."""


def check_call(x, trace, context) -> None:
    """Refuse arguments of a layer's call that are none, by name.

    Raises
    ------
    TypeError
    """
    if not isinstance(x, Tensor):
        raise TypeError(
            "x must be a tensor of shape (units, width) or (batch, length, width); got "
            f"{type(x).__name__}. Of an array torch.as_tensor(x, dtype=torch.float32) makes one."
        )
    if trace is not None and not isinstance(trace, RoutingTrace):
        raise TypeError(
            f"trace must be a RoutingTrace(), which the layers fill; got {type(trace).__name__}."
        )
    check_fields(context)


def places(x: Tensor) -> dict[str, Tensor]:
    """Segment and position of each unit of x, which has shape (batch, length, dim)."""
    batch, length = x.shape[:2]
    segment = torch.arange(batch, device=x.device)[:, None].expand(batch, length)
    position = torch.arange(length, device=x.device).expand(batch, length)
    return {"segment": segment, "position": position}
