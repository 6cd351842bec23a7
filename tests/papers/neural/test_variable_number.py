"""Routers with as many experts as a unit needs: XMoE, dynamic top-p routing, adaptive gating."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from mixexp.neural import (
    AdaptiveTopKRouter,
    Clock,
    FeedForwardExperts,
    MoELayer,
    RoutingTrace,
    TopKRouter,
    TopPRouter,
)


def test_the_entropy_loss_makes_flat_probabilities_sharp() -> None:
    """Dynamic routing (Huang et al., 2024): without the loss the number of experts stays."""
    x = torch.randn(256, 6, generator=torch.Generator().manual_seed(0))

    def mean_number(weight):
        torch.manual_seed(0)
        router = TopPRouter(6, 8, 0.7)
        layer = MoELayer(router, FeedForwardExperts(8, 6, 4))
        optimiser = torch.optim.Adam(router.parameters(), lr=0.05)
        for _ in range(40):
            trace = RoutingTrace()
            layer(x, trace=trace)
            optimiser.zero_grad()
            (weight * trace.losses["entropy"]).backward()
            optimiser.step()
        return trace[0].n_pairs / len(x)

    assert mean_number(0.0) > 3
    assert mean_number(1.0) < 2


def _regions(n, generator):
    """Units around two centres with linear laws, and units between them: what is hard to route."""
    side = torch.randint(2, (n,), generator=generator) * 2.0 - 1.0
    hard = torch.rand(n, generator=generator) < 0.3
    x = torch.randn(n, 8, generator=generator)
    x[:, 0] = torch.where(hard, 0.3 * x[:, 0], 3 * side)
    first, second = torch.randn(2, 8, 4, generator=torch.Generator().manual_seed(99))
    share = torch.sigmoid(2 * x[:, :1])
    return x, share * (x @ first) + (1 - share) * (x @ second), hard


def _fitted(router, seed, n_steps=300):
    """A layer of linear experts fitted by Adam; its loss and number of experts on fresh units."""
    source = torch.Generator().manual_seed(seed)
    layer = MoELayer(router, FeedForwardExperts(router.n_experts, 8, 32, out_dim=4))
    optimiser = torch.optim.Adam(layer.parameters(), lr=1e-2)
    for step in range(n_steps):
        x, y, _ = _regions(256, source)
        loss = nn.functional.mse_loss(layer(x, clock=Clock(step, n_steps, True)), y)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    x, y, hard = _regions(2_000, torch.Generator().manual_seed(1_000))
    trace = RoutingTrace()
    with torch.no_grad():
        loss = nn.functional.mse_loss(layer.eval()(x, trace=trace), y)
    return loss.item(), torch.bincount(trace[0].unit, minlength=len(x)), hard


@pytest.mark.slow
@pytest.mark.parametrize("router", ["adaptive", "top_p"])
def test_fewer_experts_at_nearly_the_loss_of_two(router) -> None:
    """Adaptive gating (Li et al., 2023) and top-p: easy units take one, those between take two.

    Published: the quality of two experts. Found here: nine tenths of the way from one to two.
    """
    closed, sizes_of, difference = [], [], []
    for seed in range(5):
        found = {}
        for name in ("own", "one", "two"):
            torch.manual_seed(seed)
            if name != "own":
                made = TopKRouter(8, 4, 1 + (name == "two"))
            elif router == "adaptive":
                made = AdaptiveTopKRouter(8, 4, 0.7)
            else:
                made = TopPRouter(8, 4, 0.85, max_k=2)
            found[name] = _fitted(made, seed)
        loss, sizes, hard = found["own"]
        one, two = found["one"][0], found["two"][0]
        closed.append((one - loss) / (one - two))
        sizes_of.append(sizes.float().mean().item())
        difference.append((sizes[hard].float().mean() - sizes[~hard].float().mean()).item())
    assert min(closed) > 0.8
    assert sum(closed) / 5 > 0.85
    # means: rounding, which differs between machines, decides where a single run ends
    assert sum(sizes_of) / 5 < 1.75
    assert sum(difference) / 5 > 0.35 and min(difference) > 0
