"""MoE++ (Jin et al., 2024): zero, copy and constant experts, and scores that are handed on."""

from __future__ import annotations

import torch
from torch.testing import assert_close

from mixexp.neural import (
    BankList,
    ConstantExperts,
    CopyExperts,
    FeedForwardExperts,
    MoELayer,
    RoutingTrace,
    TopKRouter,
    ZeroExperts,
    count_active,
)

DIM, N_TRUE = 6, 3
ZERO, COPY, CONSTANT = 3, 4, 5


def _layer(k=1, favourites=(), **options) -> MoELayer:
    """Three experts with hidden units, a zero, a copy and a constant one."""
    torch.manual_seed(0)
    parts = [ZeroExperts(1, DIM), CopyExperts(1, DIM), ConstantExperts(1, DIM)]
    router = TopKRouter(DIM, 6, k, bias=True, **options)
    with torch.no_grad():
        router.score.bias[list(favourites)] += 50.0
    return MoELayer(router, BankList([FeedForwardExperts(N_TRUE, DIM, 8), *parts]))


def _x(n=40) -> torch.Tensor:
    return torch.randn(n, DIM, generator=torch.Generator().manual_seed(1))


def test_what_the_cheap_experts_answer() -> None:
    """With softmax weights of next to one: nothing, the unit itself, and a mix with a vector."""
    x = _x()
    assert_close(_layer(favourites=[ZERO])(x), torch.zeros_like(x))
    assert_close(_layer(favourites=[COPY])(x), x)
    layer = _layer(favourites=[CONSTANT])
    constant = layer.experts.banks[-1]
    share = torch.softmax(x @ constant.share[0], 1)
    assert_close(layer(x), share[:, :1] * x + share[:, 1:] * constant.vector[0])


def test_zero_beside_another_leaves_that_one_whole() -> None:
    """The zero expert is out before weights are normalised, and two zeros make no NaN."""
    x = _x()
    layer = _layer(2, favourites=[ZERO, COPY], normalize="sum")
    assert_close(layer(x), x)
    bank = BankList([FeedForwardExperts(1, DIM, 8), ZeroExperts(2, DIM)])
    router = TopKRouter(DIM, 3, 2, normalize="sum", bias=True)
    with torch.no_grad():
        router.score.bias[1:] += 50.0
    assert_close(MoELayer(router, bank)(x), torch.zeros_like(x))


def test_cheap_experts_cost_next_to_nothing() -> None:
    x, traces = _x(), {}
    for name, favourite in (("true", 0), ("zero", ZERO), ("copy", COPY)):
        layer, traces[name] = _layer(favourites=[favourite]), RoutingTrace()
        layer(x, trace=traces[name])
        traces[name] = count_active(layer, traces[name])
    assert traces["zero"].active == traces["copy"].active < traces["true"].active


def test_scores_go_on_to_the_next_layer() -> None:
    """``z_2 = W x_2 + G z_1``."""
    first, second = _layer(gating_residual=True), _layer(gating_residual=True)
    x, trace = _x(), RoutingTrace()
    with torch.no_grad():
        torch.nn.init.normal_(second.router.residual_score.weight)
    second(first(x, trace=trace), trace=trace)
    scores = first.router.score(x)
    own = second.router.score(first(x)) + scores @ second.router.residual_score.weight.T
    assert_close(trace[1].probs, torch.softmax(own, 1))
    assert (trace[1].probs - torch.softmax(second.router.score(first(x)), 1)).abs().max() > 0.1
