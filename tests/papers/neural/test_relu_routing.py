"""ReMoE (Wang et al., 2025): continuous routing whose sparsity is steered."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from mixexp.neural import (
    FeedForwardExperts,
    MoELayer,
    ReLURouter,
    RoutingInputs,
    RoutingTrace,
    TopKRouter,
)


def _largest_jump(router, n_steps):
    """Largest change of a layer's output between neighbours on random lines, in double."""
    torch.manual_seed(1)
    layer = MoELayer(router, FeedForwardExperts(6, 4, 8)).double()
    source = torch.Generator().manual_seed(2)
    jumps = []
    for _ in range(100):
        start, end = torch.randn(2, 4, generator=source, dtype=torch.float64)
        place = torch.linspace(0, 1, n_steps, dtype=torch.float64)[:, None]
        y = layer(start + place * (end - start))
        jumps.append((y[1:] - y[:-1]).norm(dim=1).max().item())
    return max(jumps)


def test_outputs_are_continuous_where_top_k_jumps() -> None:
    torch.manual_seed(0)
    relu, top_k = ReLURouter(4, 6, 2), TopKRouter(4, 6, 2)
    assert _largest_jump(relu, 2_001) < 0.15 * _largest_jump(relu, 201)
    assert _largest_jump(top_k, 2_001) > 0.5 * _largest_jump(top_k, 201)


def _trained(n_experts, k, *, steered, n_steps=400):
    """Mean number of experts over the last hundred steps of a regression."""
    torch.manual_seed(0)
    router = ReLURouter(6, n_experts, k, alpha=1.02, initial=1e-2)
    layer = MoELayer(router, FeedForwardExperts(n_experts, 6, 8))
    target = torch.randn(6, 6)
    optimiser = torch.optim.Adam(layer.parameters(), lr=5e-3)
    numbers = []
    for _ in range(n_steps):
        x = torch.randn(128, 6)
        trace = RoutingTrace()
        y = layer(x, trace=trace)
        loss = nn.functional.mse_loss(y, torch.tanh(x @ target)) + trace.losses["sparsity"]
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        if steered:
            router.update(trace.stats[0])
        numbers.append(trace[0].n_pairs / len(x))
    return sum(numbers[-100:]) / 100


@pytest.mark.parametrize(("n_experts", "k"), [(8, 2), pytest.param(32, 4, marks=pytest.mark.slow)])
def test_the_controller_holds_the_number_of_experts(n_experts, k) -> None:
    """With a fixed coefficient the number stays near half of the experts."""
    assert abs(_trained(n_experts, k, steered=True) - k) < 0.1 * k
    assert _trained(n_experts, k, steered=False, n_steps=150) > 1.5 * k


def test_balanced_penalty_presses_on_the_frequent_expert() -> None:
    """Its gradient on an expert's scores is proportional to how often the expert is used."""
    x = torch.randn(4_000, 3, generator=torch.Generator().manual_seed(0))
    gradients = {}
    for balance in (True, False):
        router = ReLURouter(3, 2, 1, initial=1.0, balance=balance, bias=True)
        with torch.no_grad():
            router.score.weight.fill_(0.5)
            router.score.bias.copy_(torch.tensor([1.0, -1.0]))
        routing = router(RoutingInputs(x))
        routing.losses["sparsity"].backward()
        gradients[balance] = router.score.bias.grad
    often, seldom = routing.stats.counts
    assert often > 3 * seldom
    plain, balanced = gradients[False], gradients[True]
    assert torch.isclose(plain[0] / plain[1], often / seldom, rtol=1e-4)
    assert torch.isclose(balanced[0] / balanced[1], (often / seldom) ** 2, rtol=1e-4)
