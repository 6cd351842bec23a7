"""Outrageously large neural networks (Shazeer et al., 2017): noise spreads the load."""

from __future__ import annotations

import pytest
import torch

from mixexp.neural import (
    Clock,
    FeedForwardExperts,
    MoELayer,
    NoisyTopKRouter,
    RoutingInputs,
    importance_loss,
    load_loss,
)

from .claims import wins
from .learning import gains, nothing, over_seeds


def _shares(training):
    """Share of 2,000 units that each of 8 experts gets from a gate that is still zero."""
    x = torch.randn(2_000, 6, generator=torch.Generator().manual_seed(0))
    clock, source = Clock(training=training), torch.Generator().manual_seed(1)
    router = NoisyTopKRouter(6, 8, 2)
    return router, router(RoutingInputs(x, clock=clock, generator=source))


def test_a_zero_gate_spreads_units_by_noise_alone() -> None:
    """Noise off, two experts get everything."""
    _, noisy = _shares(training=True)
    _, silent = _shares(training=False)
    assert noisy.stats.counts.max() / noisy.stats.counts.mean() < 1.15
    assert silent.stats.counts.max() / silent.stats.counts.mean() == 4


def test_the_load_balances_a_gate_that_counts_cannot() -> None:
    """Counts have no gradient; descent on the variation of the smooth load evens them out."""
    torch.manual_seed(0)
    x = torch.randn(512, 6) + 1.0
    router = NoisyTopKRouter(6, 8, 2)
    with torch.no_grad():
        router.score.weight[:2] = 1.0  # two experts win almost everywhere
    optimiser = torch.optim.Adam(router.parameters(), lr=0.05)
    source = torch.Generator().manual_seed(1)
    spread = []
    for _ in range(60):
        stats = router(RoutingInputs(x, clock=Clock(training=True), generator=source)).stats
        spread.append((stats.counts.std() / stats.counts.mean()).item())
        assert not stats.counts.requires_grad
        load = stats.load_sum
        optimiser.zero_grad()
        (load.var() / load.mean().square()).backward()
        optimiser.step()
    assert spread[0] > 1.3
    assert sum(spread[-10:]) / 10 < 0.25


def _learned(penalty):
    return over_seeds(
        lambda: MoELayer(NoisyTopKRouter(16, 8, 2), FeedForwardExperts(8, 16, 8, out_dim=32)),
        penalty=penalty,
    )


@pytest.mark.slow
def test_importance_and_load_lower_the_error() -> None:
    """Without both losses experts that are ahead take everything, and others learn nothing."""

    def even(trace, clock):
        return 0.1 * (importance_loss(trace.stats[0]) + load_loss(trace.stats[0]))

    usual, free = _learned(even), _learned(nothing)
    assert min(gains(free, usual)) > 0  # in every seed, by very different amounts
    assert wins([b.variation - 2 * a.variation for a, b in zip(usual, free, strict=True)])
