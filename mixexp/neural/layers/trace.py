"""`RoutingTrace`: the record of all layers in one forward pass."""

from __future__ import annotations

from torch import Tensor

from ..routing import Routing, RoutingStats


class RoutingTrace:
    """The routings of one forward pass, layer by layer. Made by the caller, filled by the layers.

    Examples
    --------
    >>> import torch
    >>> from mixexp.neural import FeedForwardExperts, MoELayer, RoutingTrace, TopKRouter
    >>> layer = MoELayer(TopKRouter(4, 3, k=2), FeedForwardExperts(3, 4, 8))
    >>> trace = RoutingTrace()
    >>> y = layer(torch.ones(5, 4), trace=trace)
    >>> len(trace), trace.stats[0].counts.sum().item()
    (1, 10.0)
    """

    def __init__(self):
        self.routings: list[Routing] = []

    def append(self, routing: Routing) -> None:
        """Record the routing of the next layer."""
        self.routings.append(routing)

    def __repr__(self):
        layers = [f"{r.n_pairs} of {r.n_units} x {r.n_experts}" for r in self.routings]
        return f"RoutingTrace(pairs of units x experts: {', '.join(layers) or 'no layer yet'})"

    def __len__(self):
        return len(self.routings)

    def __getitem__(self, layer):
        return self.routings[layer]

    @property
    def stats(self) -> list[RoutingStats]:
        """The additive statistics of each layer."""
        return [routing.stats for routing in self.routings]

    @property
    def losses(self) -> dict[str, Tensor]:
        """The routers' own losses by name, each the mean over the layers that have it."""
        by_name: dict[str, list[Tensor]] = {}
        for routing in self.routings:
            for name, loss in routing.losses.items():
                by_name.setdefault(name, []).append(loss)
        return {name: sum(parts) / len(parts) for name, parts in by_name.items()}

    @property
    def state(self):
        """What the last layer hands to the next one's router; None before the first."""
        return self.routings[-1].state if self.routings else None
