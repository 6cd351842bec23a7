"""Loss-free balance (Wang et al., 2024; DeepSeek-V3): a bias on the selection evens out loads."""

from __future__ import annotations

import pytest
import torch

from mixexp.neural import FeedForwardExperts, MoELayer, RoutingInputs, TopKRouter

from .claims import wins
from .learning import gains, over_seeds


def test_the_bias_moves_the_choice_and_no_weight() -> None:
    torch.manual_seed(0)
    router, x = TopKRouter(6, 8, 2, bias_balance=0.01), torch.randn(200, 6)
    before = router(RoutingInputs(x))
    for _ in range(10):
        router.update(router(RoutingInputs(x + 1)).stats)
    after = router(RoutingInputs(x))
    assert not torch.equal(before.counts, after.counts)
    assert torch.equal(before.probs, after.probs)
    same = (before.weights() > 0) & (after.weights() > 0)
    assert torch.equal(before.weights()[same], after.weights()[same])


def learned(bias_balance):
    return over_seeds(
        lambda: MoELayer(
            TopKRouter(16, 8, 2, bias_balance=bias_balance),
            FeedForwardExperts(8, 16, 8, out_dim=32),
        )
    )


@pytest.mark.slow
def test_loads_are_even_without_a_gradient_that_interferes() -> None:
    """Against the same router without any balance: even loads, and a lower error too."""
    steered, free = learned(0.01), learned(None)
    assert wins([b.variation - 3 * a.variation for a, b in zip(steered, free, strict=True)])
    assert wins(gains(free, steered))
