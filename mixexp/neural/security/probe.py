"""Recording what mixture layers inside a model see, choose and answer, row by row."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ..layers import MoELayer
from ..routing import Routing, RoutingInputs


@dataclass(frozen=True, eq=False)
class LayerRecord:
    """One routing of one layer: inputs and outputs of shape (n_rows, ...), and the choices.

    Parameters
    ----------
    name : str
    layer : MoELayer
    before, after : Tensor of shape (n_rows, size)
    row, choice : LongTensor of shape (N,)
        Row of each routed pair, and the pair's unit inside the row and expert as one number.
    """

    name: str
    layer: MoELayer
    before: Tensor
    after: Tensor
    row: Tensor
    choice: Tensor

    def choices(self, row: int) -> Tensor:
        """The choices of one row, in order."""
        return self.choice[self.row == row].sort().values


class LayerProbe:
    """Context in which every routing of a `MoELayer` inside some modules is recorded.

    Parameters
    ----------
    modules : dict of str to Module
        The models, by a prefix for the names of their layers.
    """

    def __init__(self, modules: dict[str, nn.Module]):
        self.layers = {
            f"{prefix}.{name}".strip("."): module
            for prefix, model in modules.items()
            for name, module in model.named_modules()
            if isinstance(module, MoELayer)
        }
        self.records: list[LayerRecord] = []
        self.n_rows = 0

    def __enter__(self):
        # not by hooks: models may take a layer's routing without calling it
        for name, layer in self.layers.items():
            layer.__dict__["route"] = self._watched(name, layer)
        return self

    def __exit__(self, *failure):
        for layer in self.layers.values():
            del layer.route

    def take(self) -> list[LayerRecord]:
        """The records since the last time."""
        taken, self.records = self.records, []
        return taken

    def _watched(self, name: str, layer: MoELayer):
        """The layer's way to route, recorded."""

        def route(inputs: RoutingInputs) -> Routing:
            routing = type(layer).route(layer, inputs)
            if self.n_rows and inputs.n_units % self.n_rows == 0:
                y = layer.combine(inputs.x, routing, layer.items(inputs))
                self.records.append(_record(name, layer, inputs.x, y, routing, self.n_rows))
            return routing  # where units are not the rows' own nothing can be told

        return route


def _record(name, layer, x: Tensor, y: Tensor, routing: Routing, n_rows: int) -> LayerRecord:
    """A routing of units as one of rows, each of as many units."""
    units = max(1, routing.n_units // n_rows)
    return LayerRecord(
        name,
        layer,
        x.detach().reshape(n_rows, -1),
        y.detach().reshape(n_rows, -1),
        routing.unit // units,
        routing.unit % units * routing.n_experts + routing.expert,
    )


def relative_difference(a: Tensor, b: Tensor, scale: float | None = None) -> float:
    """Largest absolute difference, in units of the scale: the largest absolute value of ``a``."""
    if a.numel() == 0:
        return 0.0
    a, b = a.double(), b.double()
    same = (a == b) | (a.isnan() & b.isnan())
    gaps = torch.where(same, 0.0, (a - b).abs()).nan_to_num(nan=torch.inf)
    return float(gaps.max()) / (scale_of(a) if scale is None else scale)


def scale_of(a: Tensor) -> float:
    """Largest absolute finite value; one where all are zero."""
    return float(torch.where(a.isfinite(), a.double().abs(), 0.0).max()) or 1.0
