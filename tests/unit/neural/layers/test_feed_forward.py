"""Layers built from numbers: granularity, shared experts, and heads, at equal cost."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from mixexp.neural import FeedForward, MoELayer, MultiHeadMoE, RoutingTrace, TopKRouter


def n_parameters(module) -> int:
    return sum(p.numel() for p in module.parameters())


@pytest.mark.parametrize("gated", [False, True])
@pytest.mark.parametrize(("m", "n_shared"), [(1, 0), (1, 1), (2, 1), (4, 3)])
def test_fine_grained_layers_have_the_same_parameters(gated, m, n_shared) -> None:
    coarse = MoELayer.feed_forward(8, 16, 4, 2, gated=gated)
    fine = MoELayer.feed_forward(8, 16, 4, 2, granularity=m, n_shared=n_shared, gated=gated)
    shared = 0 if fine.shared is None else n_parameters(fine.shared)
    assert n_parameters(fine.experts) + shared == n_parameters(coarse.experts)
    active = [
        layer.experts.cost[0] * layer.router.k + (n_parameters(layer.shared) if layer.shared else 0)
        for layer in (coarse, fine)
    ]
    assert active[0] == active[1]
    assert fine.router.n_experts == 4 * m - n_shared


def test_a_shared_part_is_the_sum_of_shared_experts() -> None:
    layer = MoELayer.feed_forward(8, 16, 4, 2, granularity=4, n_shared=3)
    x = torch.randn(5, 8)
    w1, w2 = layer.shared.expert.w1[0].split(4, 1), layer.shared.expert.w2[0].split(4, 0)
    each = sum(nn.functional.gelu(x @ a) @ b for a, b in zip(w1, w2))
    assert_close(layer(x) - layer.experts.mix(x, layer.route(layer.inputs(x))), each)


def test_granularity_one_is_the_plain_layer() -> None:
    torch.manual_seed(0)
    built = MoELayer.feed_forward(8, 16, 4, 2, expert_options={"activation": "relu"})
    assert isinstance(built.router, TopKRouter) and built.router.k == 2
    assert built.experts.w1.shape == (4, 8, 16) and built.shared is None


@pytest.mark.parametrize(
    ("options", "message"),
    [({"granularity": 3}, "granularity must divide"), ({"n_shared": 2}, "n_shared must be")],
)
def test_numbers_that_do_not_fit_are_refused(options, message) -> None:
    with pytest.raises(ValueError, match=message):
        MoELayer.feed_forward(8, 16, 4, 2, **options)


def test_one_head_with_identities_is_the_plain_layer() -> None:
    moe = MoELayer.feed_forward(8, 16, 4, 2)
    layer = MultiHeadMoE(moe, 1)
    nn.init.eye_(layer.head.weight)
    nn.init.eye_(layer.merge.weight)
    x = torch.randn(3, 5, 8)
    assert_close(layer(x), moe(x))


@pytest.mark.parametrize("heads", [2, 4])
def test_parts_of_a_unit_carry_what_is_known_of_it(heads) -> None:
    moe = MoELayer.feed_forward(8 // heads, 16, 4, 2)
    layer = MultiHeadMoE(moe, heads)
    x, valid = torch.randn(3, 5, 8), torch.rand(3, 5) < 0.6
    visible = torch.rand(3, 5, 4) < 0.7
    visible[..., 0] = True
    trace, alone = RoutingTrace(), RoutingTrace()
    y = layer(x, trace=trace, valid=valid, visible=visible)
    assert trace.stats[0].n_units == heads * valid.sum()
    assert_close(trace.stats[0].segment_units, heads * valid.sum(1).float())
    moe(
        layer.head(x)[valid].view(-1, 8 // heads), trace=alone,
        visible=visible[valid].repeat_interleave(heads, 0),
    )  # fmt: skip
    assert_close(trace.stats[0].counts, alone.stats[0].counts)
    assert_close(y[~valid], torch.zeros_like(y[~valid]))
    # without head and merge matrix a unit's parts stay apart
    nn.init.eye_(layer.head.weight)
    nn.init.eye_(layer.merge.weight)
    part = 8 // heads
    assert_close(layer(x)[..., :part], moe(x[..., :part]))


@pytest.mark.parametrize("gated", [False, True])
@pytest.mark.parametrize("heads", [2, 3, 4])
def test_heads_at_equal_cost(gated, heads) -> None:
    plain = MoELayer.feed_forward(48, 96, 32, 2, gated=gated)
    layer = MultiHeadMoE.feed_forward(48, 96, 32, 2, heads=heads, gated=gated)
    total = n_parameters(layer) - n_parameters(layer.moe.router)
    assert abs(total / n_parameters(plain.experts) - 1) < 0.01
    active = heads * 2 * layer.moe.experts.cost[0] + 2 * 48 * 48
    assert abs(active / (2 * plain.experts.cost[0]) - 1) < 0.01


def test_heads_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ValueError, match="heads must divide"):
        MultiHeadMoE.feed_forward(8, 16, 4, 2, heads=3)
    with pytest.raises(ValueError, match="cost as much"):
        MultiHeadMoE.feed_forward(64, 16, 4, 1, heads=2)
    with pytest.raises(ValueError, match="keep their width"):
        MultiHeadMoE(MoELayer.feed_forward(8, 16, 4, 2, expert_options={"out_dim": 3}), 2)
    with pytest.raises(ValueError, match="at least one"):
        MultiHeadMoE(MoELayer.feed_forward(8, 16, 4, 2), 0)


def test_a_feed_forward_is_one_expert() -> None:
    dense = FeedForward(8, 16, gated=True, out_dim=3)
    x = torch.randn(2, 5, 8)
    assert dense(x).shape == (2, 5, 3)
    assert_close(dense(x)[1, 2], dense(x[1, 2:3])[0])
