"""DeepSeekMoE (Dai et al., 2024): more and smaller experts, and one that all units share."""

from __future__ import annotations

import torch

from mixexp.neural import MoELayer, RoutingTrace, count_active

# granularity and shared experts
KINDS = {"coarse": (1, 0), "fine": (4, 0), "fine and shared": (4, 1)}


def layer_of(granularity, n_shared, k=2):
    return MoELayer.feed_forward(
        16, 16, 8, k,
        granularity=granularity, n_shared=n_shared, expert_options={"out_dim": 32},
    )  # fmt: skip


def test_all_kinds_have_the_same_parameters_beside_the_router() -> None:
    x, costs = torch.randn(100, 16), set()
    for kind in KINDS.values():
        layer, trace = layer_of(*kind), RoutingTrace()
        layer(x, trace=trace)
        cost, router = count_active(layer, trace), layer.router.score.weight.numel()
        costs.add((cost.total - router, round(cost.active) - router))
    assert len(costs) == 1
