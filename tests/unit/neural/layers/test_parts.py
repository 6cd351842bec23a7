"""A layer refuses what is no part of it when it is built, not at the first pass."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from mixexp.neural import (
    FeedForwardExperts,
    GatedExperts,
    MoELayer,
    MultiHeadMoE,
    RoutingTrace,
    TopKRouter,
    count_active,
    load_balancing_loss,
)

ROUTER, BANK = TopKRouter(6, 4, k=2), GatedExperts(4, 6, 5)


@pytest.mark.parametrize(
    ("make", "error", "text"),
    [
        (lambda: MoELayer("top_k", BANK), TypeError, "router must be a Router.* got 'top_k'"),
        (lambda: MoELayer(BANK, ROUTER), TypeError, "router must be .* got GatedExperts"),
        (lambda: MoELayer(ROUTER, [nn.Linear(6, 6)] * 4), TypeError, "ModuleExperts"),
        (lambda: MoELayer(ROUTER, BANK, limiter=1.25), TypeError, "CapacityLimiter"),
        (lambda: MoELayer(ROUTER, GatedExperts(4, 8, 5)), ValueError, "width 6 .* width 8"),
        (lambda: TopKRouter(6, 4, k=1.5), ValueError, "k must be a whole number"),
        (lambda: GatedExperts(0, 6, 5), ValueError, "at least one expert"),
        (lambda: FeedForwardExperts(4, 6, 0), ValueError, "at least one hidden unit"),
    ],
)
def test_wrong_parts_are_named(make, error, text) -> None:
    with pytest.raises(error, match=text):
        make()


def test_a_trace_and_its_statistics_are_told_apart() -> None:
    layer, trace = MoELayer(ROUTER, BANK), RoutingTrace()
    layer(torch.ones(3, 6), trace=trace)
    with pytest.raises(TypeError, match="trace.stats"):
        load_balancing_loss(trace)
    with pytest.raises(TypeError, match="RoutingTrace"):
        count_active(layer, trace.stats[0])


@pytest.mark.parametrize("several", [False, True], ids=["plain", "multi-head"])
@pytest.mark.parametrize(
    ("x", "given", "error", "text"),
    [
        (np.ones((3, 6)), {}, TypeError, "x must be a tensor .* got ndarray"),
        (torch.ones(3, 6), {"trace": []}, TypeError, "trace must be a RoutingTrace.* got list"),
        (torch.ones(3, 6), {"padding": torch.ones(3)}, TypeError, "padding= is no .*valid="),
        (torch.ones(3, 6), {"weight": 1}, TypeError, "weight= is no routing input; .*'clock'"),
    ],
)
def test_what_a_layer_cannot_be_called_with_is_named(several, x, given, error, text) -> None:
    layer = MultiHeadMoE.feed_forward(6, 12, 4, 2, heads=2) if several else MoELayer(ROUTER, BANK)
    with pytest.raises(error, match=text):
        layer(x, **given)


def test_precisions_that_differ_are_named() -> None:
    layer = MoELayer(ROUTER, BANK)
    with pytest.raises(TypeError, match="units are in torch.float64 and .* torch.float32"):
        layer(torch.ones(3, 6, dtype=torch.float64))


def test_a_trace_says_what_it_holds() -> None:
    trace = RoutingTrace()
    assert "no layer yet" in repr(trace)
    MoELayer(ROUTER, BANK)(torch.ones(3, 6), trace=trace)
    assert repr(trace) == "RoutingTrace(pairs of units x experts: 6 of 3 x 4)"
