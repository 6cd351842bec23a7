"""BlackMamba (Anthony et al., 2024): balanced in training without a loss, batch-free afterwards."""

from __future__ import annotations

import torch
from torch import nn

from mixexp.neural import FeedForwardExperts, MoELayer, SinkhornRouter, TopKRouter


def _trained(router, n_steps=150):
    """The layer after a regression, and the mean coefficient of variation of the loads."""
    torch.manual_seed(1)
    layer = MoELayer(router, FeedForwardExperts(8, 6, 8))
    target = torch.randn(6, 6)
    optimiser = torch.optim.Adam(layer.parameters(), lr=1e-2)
    uneven = []
    for step in range(n_steps):
        x = torch.randn(256, 6) + torch.tensor([2.0, 0, 0, 0, 0, 0])
        routing = layer.route(layer.inputs(x))
        loss = nn.functional.mse_loss(layer.combine(x, routing), torch.tanh(x @ target))
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        if step >= n_steps // 2:
            counts = routing.stats.counts
            uneven.append(counts.std(correction=0) / counts.mean())
    return layer.eval(), float(torch.stack(uneven).mean())


def test_loads_are_even_in_training_without_a_balance_loss() -> None:
    torch.manual_seed(0)
    layer, balanced = _trained(SinkhornRouter(6, 8))
    _, free = _trained(TopKRouter(6, 8, 1, score="sigmoid"))
    assert balanced < 0.25
    assert free > 0.5
    x = torch.randn(256, 6) + torch.tensor([2.0, 0, 0, 0, 0, 0])
    torch.testing.assert_close(layer(x)[:7], layer(x[:7]))
