"""Expert choice (Zhou et al., 2022): even loads by construction, and the leak that it costs."""

from __future__ import annotations

import pytest
import torch

from mixexp.neural import (
    ExpertChoiceRouter,
    FeedForwardExperts,
    MoELayer,
    RoutingInputs,
    TopKRouter,
)

from .claims import wins
from .learning import balance, gains, nothing, over_seeds


def _skewed(n=400, seed=0):
    x = torch.randn(n, 6, generator=torch.Generator().manual_seed(seed))
    return x + torch.tensor([3.0, 0, 0, 0, 0, 0])


def test_loads_are_even_and_units_have_different_numbers_of_experts() -> None:
    torch.manual_seed(0)
    chosen = ExpertChoiceRouter(6, 8, 2.0), TopKRouter(6, 8, 2)
    counts, numbers = [], []
    for router in chosen:
        routing = router(RoutingInputs(_skewed()))
        counts.append(routing.stats.counts)
        numbers.append(torch.bincount(routing.unit, minlength=400))
    assert counts[0].tolist() == [100] * 8
    assert counts[1].std() / counts[1].mean() > 0.3
    assert len(numbers[0].unique()) > 2
    assert numbers[0].float().mean() == 2
    assert bool((numbers[1] == 2).all())


def test_the_batch_scope_leaks_and_the_sequence_scope_does_not() -> None:
    """Another sequence, chosen by an adversary, moves the answer for the victim's."""
    torch.manual_seed(0)
    victim = torch.randn(1, 10, 6)
    others = [torch.randn(1, 10, 6) for _ in range(5)]
    moved = {}
    for scope in ("batch", "sequence"):
        torch.manual_seed(1)
        layer = MoELayer(ExpertChoiceRouter(6, 4, scope=scope), FeedForwardExperts(4, 6, 8)).eval()
        answers = [layer(torch.cat([victim, other]))[0] for other in others]
        moved[scope] = max(float((a - answers[0]).abs().max().detach()) for a in answers)
    assert moved["batch"] > 1e-2
    assert moved["sequence"] < 1e-6


@pytest.mark.slow
def test_experts_that_choose_learn_faster_than_units_that_choose() -> None:
    """Against top-2 with a balance loss, at two experts a unit on average: Zhou et al. say twice.

    Found here: a lower error and even loads for nothing, and a tenth fewer steps to the other's
    final loss.
    """
    arms = []
    for router, penalty in ((TopKRouter, balance(1.0)), (ExpertChoiceRouter, nothing)):
        arms.append(
            over_seeds(
                lambda r=router: MoELayer(r(16, 8, 2), FeedForwardExperts(8, 16, 8, out_dim=32)),
                penalty=penalty,
            )
        )
    units, experts = arms
    assert wins(gains(units, experts))
    share = [
        own.steps_to(sum(other.path[-10:]) / 10) / len(other.path)
        for own, other in zip(experts, units, strict=True)
    ]
    assert max(share) < 1
    assert max(own.variation for own in experts) < 0.01
