"""Switch Transformer (Fedus et al., 2022): more experts at equal cost, kept in use by a loss."""

from __future__ import annotations

import pytest
import torch
from torch.testing import assert_close

from mixexp.neural import (
    FeedForward,
    FeedForwardExperts,
    MoELayer,
    RoutingInputs,
    SwitchRouter,
    load_balancing_loss,
)

from .claims import wins
from .learning import balance, gains, over_seeds


def switch(n_experts, weight=1.0):
    """Layers in which a unit meets 16 hidden units, however many experts there are."""
    return over_seeds(
        lambda: MoELayer(
            SwitchRouter(16, n_experts), FeedForwardExperts(n_experts, 16, 16, out_dim=32)
        ),
        penalty=balance(weight),
    )


def test_the_gradient_of_balance_is_that_of_probabilities_alone() -> None:
    """``dL/dP_e = E f_e / T``: counts press on the probabilities of experts that have much."""
    torch.manual_seed(0)
    stats = SwitchRouter(6, 4)(RoutingInputs(torch.randn(100, 6) + 1)).stats
    (gradient,) = torch.autograd.grad(load_balancing_loss(stats), stats.prob_sum)
    assert_close(gradient, 4 * stats.counts / stats.counts.sum() / 100)


@pytest.mark.slow
def test_more_experts_learn_faster_at_equal_cost() -> None:
    """Against a dense layer of the same active parameters, and with two, four and eight experts."""
    dense = over_seeds(lambda: FeedForward(16, 16, out_dim=32))
    several = [switch(n_experts) for n_experts in (2, 4, 8)]
    for fewer, more in zip([dense, *several], several):
        assert wins(gains(fewer, more))
    for own, other in zip(several[-1], dense, strict=True):
        level = sum(other.path[-10:]) / 10
        assert own.steps_to(level) <= 0.7 * len(other.path)


@pytest.mark.slow
def test_the_balance_loss_keeps_experts_in_use() -> None:
    """Without it the loads vary twice as much, and the error is higher."""
    usual, free = switch(8), switch(8, weight=0.0)
    assert wins([b.variation - 2 * a.variation for a, b in zip(usual, free, strict=True)])
    assert wins(gains(free, usual))
