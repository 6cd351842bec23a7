"""COMET (Ibrahim et al., 2023): trees whose entropy makes the gate sparse, one leaf a tree."""

from __future__ import annotations

import pytest
import torch
from torch.testing import assert_close

from mixexp.neural import COMETRouter, DSelectKRouter, FeedForwardExperts, MoELayer

from .claims import wins
from .learning import gains, over_seeds


def _trained(coefficient, k=2, n_steps=200):
    """Mean number of experts of a unit after a regression with the entropy, and its error."""
    torch.manual_seed(1)
    layer = MoELayer(COMETRouter(3, 8, k), FeedForwardExperts(8, 3, 4, activation="relu"))
    x = torch.randn(128, 3)
    y = torch.where(x[:, :1] > 0, x.flip(1), -2 * x)
    optimiser = torch.optim.Adam(layer.parameters(), lr=0.03)
    for step in range(n_steps):
        routing = layer.route(layer.inputs(x))
        loss = (layer.combine(x, routing) - y).square().mean()
        optimiser.zero_grad()
        (loss + coefficient * step / n_steps * routing.losses["entropy"]).backward()
        optimiser.step()
    weights = routing.weights().detach()
    assert_close(weights.sum(1), torch.ones(128))
    return (weights > 0).sum(1).float().mean(), loss.item()


def test_the_entropy_leads_to_one_leaf_a_tree() -> None:
    sparse, error = _trained(2.0)
    assert sparse < 2.7
    assert error < 0.15  # a tenth of the variance of the targets
    assert _trained(0.0)[0] > 4


def _learned(kind):
    """Layers trained with an entropy loss whose coefficient rises to one."""
    return over_seeds(
        lambda: MoELayer(kind(16, 8, 2), FeedForwardExperts(8, 16, 8, out_dim=32)),
        penalty=lambda trace, clock: clock.progress * trace.losses["entropy"],
    )


@pytest.mark.slow
def test_trees_learn_more_than_codes() -> None:
    """Against DSelect-k at the same entropy loss; both end between two and three experts a unit."""
    codes, trees = _learned(DSelectKRouter), _learned(COMETRouter)
    assert wins(gains(codes, trees))
    for own in (*codes, *trees):
        assert 2 <= own.n_experts < 3
