"""Parameters and operations a unit: what comparisons at equal budgets are made by."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor, nn

from ..experts import ExpertBank
from ..layers import MoELayer, RoutedLayer, RoutingTrace
from ..routing import Routing


class ParameterCount(NamedTuple):
    """Numbers of parameters of a model.

    Parameters
    ----------
    total : int
    experts : int
        Of the banks of its routed layers.
    routers : int
    """

    total: int
    experts: int
    routers: int


class ActiveCost(NamedTuple):
    """What one unit costs on its way through a model.

    Parameters
    ----------
    total : int
        Parameters of the model.
    active : float
        Parameters that the unit meets, an expert's once for every time it is used.
    flops : float
        Operations with parameters, two for each weight of a matrix. Products of units with each
        other, as in attention, are left out: they do not depend on the routing.
    experts : tuple of float
        Experts a unit in each routed layer, on average.
    """

    total: int
    active: float
    flops: float
    experts: tuple[float, ...]


def count_parameters(model: nn.Module) -> ParameterCount:
    """How many parameters a model has, and how many of them in experts and routers."""
    layers = [module for module in model.modules() if isinstance(module, MoELayer)]
    return ParameterCount(
        _size(model.parameters()),
        sum(_size(layer.experts.parameters()) for layer in layers),
        sum(_size(layer.router.parameters()) for layer in layers),
    )


def count_active(
    model: nn.Module, trace: RoutingTrace | None = None, *, k: float | None = None
) -> ActiveCost:
    """Active parameters and operations a unit, measured from a trace, or for k experts a unit.

    Rows that a router did not send, or a limiter dropped, cost nothing, and experts of different
    size cost what they are. Padding is not counted. Where experts are merged by sequence or task
    a unit pays for one expert, and the merging, paid once an item, is left out.

    Parameters
    ----------
    model : Module
        Routed layers in it run in the order in which they are registered.
    trace : RoutingTrace
        Of one forward pass.
    k : float, optional
        Instead of a trace: experts a unit in every layer, all of the mean size.

    Raises
    ------
    ValueError
        Unless one of trace and k is given, and if the trace has another number of layers.

    Examples
    --------
    >>> import torch
    >>> from mixexp.neural import MoELayer, RoutingTrace, count_active
    >>> layer, trace = MoELayer.feed_forward(8, 16, 4, 2), RoutingTrace()
    >>> y = layer(torch.randn(10, 8), trace=trace)
    >>> cost = count_active(layer, trace)
    >>> cost.total, cost.active, cost.experts
    (1056, 544.0, (2.0,))
    """
    if (trace is None) == (k is None):
        raise ValueError("give a trace, or k experts a unit, and not both.")
    if trace is not None and not isinstance(trace, RoutingTrace):
        raise TypeError(
            "trace must be the RoutingTrace that one forward pass filled, as in "
            f"model(x, trace=trace); got {type(trace).__name__}."
        )
    n_layers = sum(isinstance(module, MoELayer) for module in model.modules())
    if trace is not None and len(trace) != n_layers:
        raise ValueError(
            f"the trace has {len(trace)} routings and the model {n_layers} routed layers: give "
            "the trace of one whole forward pass."
        )
    walk = _Walk(iter([] if trace is None else trace.routings), k)
    active, flops = walk.module(model)
    return ActiveCost(_size(model.parameters()), active, flops, tuple(walk.experts))


class _Walk:
    """Costs of modules, taking the routings one after the other."""

    def __init__(self, routings: Iterator[Routing], k: float | None):
        self.routings = routings
        self.k = k
        self.experts: list[float] = []

    def module(self, module: nn.Module) -> tuple[float, float]:
        """Active parameters and operations for one unit that enters."""
        if isinstance(module, MoELayer):
            return self._layer(module)
        active, flops = _own(module)
        for child in module.children():
            more, work = self.module(child)
            # a unit enters as several parts
            times = module.units_per_unit if _is_split(module, child) else 1
            active, flops = active + times * more, flops + times * work
        return active, flops

    def _layer(self, layer: MoELayer) -> tuple[float, float]:
        cost = layer.experts.cost.double()
        rows = self._rows(layer.experts)
        self.experts.append(float(rows.sum()))
        if layer.merge != "token":
            rows = rows / rows.sum().clamp_min(1e-300)
        active = float(rows @ cost)
        flops = 2 * active
        active, flops = active + _size(layer.router.parameters()), flops + layer.router.flops
        if layer.shared is not None:
            more, work = self.module(layer.shared)
            active, flops = active + more, flops + work
        return active, flops

    def _rows(self, experts: ExpertBank) -> Tensor:
        """Rows of each expert for one unit, shape (E,)."""
        if self.k is not None:
            share = self.k / experts.n_experts
            return torch.full((experts.n_experts,), share, dtype=torch.float64)
        routing = next(self.routings)
        stats = routing.stats
        rows = routing.counts
        dropped = 0 if stats.n_dropped is None else int(stats.n_dropped)
        if routing.slot_expert is None and int(stats.counts.sum()) != routing.n_pairs + dropped:
            rows = stats.counts  # of whole sequences or tasks, which are the units that count
        return rows.double() / stats.n_units.double().clamp_min(1.0)


def _own(module: nn.Module) -> tuple[float, float]:
    """Cost of the parameters that a module holds itself."""
    own = list(module.parameters(recurse=False))
    if isinstance(module, nn.Embedding):
        return module.embedding_dim, 0.0  # one row is looked up
    return _size(own), 2.0 * _size([parameter for parameter in own if parameter.ndim > 1])


def _is_split(module: nn.Module, child: nn.Module) -> bool:
    return isinstance(module, RoutedLayer) and isinstance(child, MoELayer)


def _size(parameters) -> int:
    return sum(parameter.numel() for parameter in parameters)
