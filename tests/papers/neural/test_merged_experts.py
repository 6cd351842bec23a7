"""Merging experts into one (He et al., 2023): several experts at the cost of one."""

from __future__ import annotations

import pytest
import torch

from mixexp.neural import (
    FeedForwardExperts,
    MoELayer,
    RoutingTrace,
    TopKRouter,
    count_active,
)

from .claims import wins
from .learning import balance, gains, over_seeds

# a sequence is of one language
KINDS = {
    "one": (1, {}),
    "outputs": (4, {}),
    "units": (4, {"combine": "parameters"}),
    "sequences": (4, {"combine": "parameters", "merge": "sequence"}),
}


def layer_of(k, options):
    router = TopKRouter(16, 8, k, normalize=None if k == 1 else "sum")
    return MoELayer(router, FeedForwardExperts(8, 16, 16, out_dim=32), **options)


def learned(name):
    return over_seeds(
        lambda: layer_of(*KINDS[name]),
        penalty=balance(0.1),
    )


def test_a_sequence_of_merged_experts_costs_what_one_expert_does() -> None:
    x, segment = torch.randn(64, 16), torch.arange(2).repeat_interleave(32)
    flops = {}
    for name, kind in KINDS.items():
        layer, trace = layer_of(*kind), RoutingTrace()
        layer(x, segment=segment, trace=trace)
        flops[name] = count_active(layer, trace).flops - layer.router.flops
    assert flops["sequences"] == flops["one"] == flops["outputs"] / 4


@pytest.mark.slow
def test_four_merged_experts_learn_more_than_one() -> None:
    """A unit computes one expert in both; the error has to be lower by a quarter."""
    one, merged = learned("one"), learned("units")
    assert wins(gains(one, merged, share=0.75))
