"""Multi-head mixture of experts (Wu et al., 2024; Huang et al., 2024): parts are routed."""

from __future__ import annotations

import torch

from mixexp.neural import MoELayer, MultiHeadMoE, RoutingTrace, count_active


def test_a_unit_meets_more_experts_at_the_same_cost() -> None:
    """Of 32 units with one expert each, against parts of the same units."""
    torch.manual_seed(0)
    x = torch.randn(32, 48)
    plain = MoELayer.feed_forward(48, 96, 8, 1)
    parts = MultiHeadMoE.feed_forward(48, 96, 8, 1, heads=4)
    flops, met = [], []
    for layer, moe in ((plain, plain), (parts, parts.moe)):
        trace = RoutingTrace()
        layer(x, trace=trace)
        per_unit = trace[0].n_units // len(x)
        flops.append(count_active(layer, trace).flops - per_unit * moe.router.flops)
        unit = trace[0].unit // per_unit
        pairs = torch.stack([unit, trace[0].expert]).unique(dim=1)
        met.append(pairs.shape[1] / len(x))
    assert abs(flops[1] / flops[0] - 1) < 0.01
    assert met[0] == 1
    assert met[1] > 3
