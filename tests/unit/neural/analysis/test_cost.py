"""Counted operations against those that PyTorch sees, and budgets of layers built alike."""

from __future__ import annotations

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from mixexp.neural import (
    BankList,
    CapacityLimiter,
    FeedForward,
    FeedForwardExperts,
    HeterogeneousExperts,
    MoELayer,
    MoETransformerLM,
    MultiHeadMoE,
    RoutingTrace,
    TopKRouter,
    TopPRouter,
    ZeroExperts,
    count_active,
    count_parameters,
)

LAYERS = {
    "plain": lambda: MoELayer.feed_forward(8, 16, 4, 2),
    "gated": lambda: MoELayer.feed_forward(8, 16, 4, 2, gated=True, granularity=4, n_shared=1),
    "heads": lambda: MultiHeadMoE.feed_forward(8, 16, 4, 2, heads=2),
    "variable": lambda: MoELayer(TopPRouter(8, 4), FeedForwardExperts(4, 8, 16)),
    "uneven": lambda: MoELayer(TopKRouter(8, 3), HeterogeneousExperts([2, 9, 4], 8)),
    "null": lambda: MoELayer(
        TopKRouter(8, 4), BankList([FeedForwardExperts(2, 8, 16), ZeroExperts(2, 8)])
    ),
    "dropped": lambda: MoELayer(
        TopKRouter(8, 4), FeedForwardExperts(4, 8, 16), limiter=CapacityLimiter(0.5)
    ),
    "merged": lambda: MoELayer(
        TopKRouter(8, 4), FeedForwardExperts(4, 8, 16), combine="parameters"
    ),
}


@pytest.mark.parametrize("name", LAYERS)
def test_operations_are_those_that_are_done(name) -> None:
    torch.manual_seed(0)
    layer, trace = LAYERS[name](), RoutingTrace()
    x = torch.randn(3, 10, 8)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        layer(x, trace=trace)
    assert count_active(layer, trace).flops * 30 == pytest.approx(counter.get_total_flops())


def test_padding_costs_nothing() -> None:
    torch.manual_seed(0)
    layer = LAYERS["variable"]()
    x, valid = torch.randn(20, 8), torch.arange(20) < 12
    padded, alone = RoutingTrace(), RoutingTrace()
    layer(x, valid=valid, trace=padded)
    layer(x[:12], trace=alone)
    assert count_active(layer, padded) == count_active(layer, alone)


def test_a_model_counts_embeddings_by_rows_and_layers_in_order() -> None:
    def make(i):
        return FeedForward(8, 16) if i == 0 else MoELayer.feed_forward(8, 16, 4, i)

    lm, trace = MoETransformerLM(make, dim=8, n_heads=2, n_layers=3, context=6), RoutingTrace()
    lm(torch.zeros(1, 6, dtype=torch.long), trace=trace)
    cost = count_active(lm, trace)
    assert cost.experts == (1.0, 2.0)
    tables = (256 + 6 - 2) * 8
    unused = (3 + 2) * 2 * 8 * 16
    assert cost.active == cost.total - tables - unused
    norms = 7 * 2 * 8
    assert cost.flops == 2 * (cost.active - norms - 2 * 8)
    count = count_parameters(lm)
    assert count == (cost.total, 2 * 4 * 2 * 8 * 16, 2 * 4 * 8)


def test_numbers_of_a_k_are_those_of_a_trace() -> None:
    layer, trace = LAYERS["gated"](), RoutingTrace()
    layer(torch.randn(9, 8), trace=trace)
    first, second = count_active(layer, k=7), count_active(layer, trace)
    assert first.flops == pytest.approx(second.flops)
    assert first.active == pytest.approx(second.active)


def test_whole_sequences_count_their_experts() -> None:
    router = TopKRouter(8, 4, 3, level="sequence")
    for options, expected in (({}, 3), ({"combine": "parameters", "merge": "sequence"}, 1)):
        layer, trace = MoELayer(router, FeedForwardExperts(4, 8, 16), **options), RoutingTrace()
        layer(torch.randn(2, 5, 8), trace=trace)
        cost = count_active(layer, trace)
        assert cost.experts == (3.0,)
        assert cost.active == expected * 256 + 32


def test_impossible_questions_are_refused() -> None:
    layer = LAYERS["plain"]()
    with pytest.raises(ValueError, match="not both"):
        count_active(layer)
    with pytest.raises(ValueError, match="has 0 routings and the model 1"):
        count_active(layer, RoutingTrace())
