"""sigma-MoE (Csordas et al., 2023): scores that do not compete, and balance by entropy."""

from __future__ import annotations

import math

import pytest
import torch
from torch.testing import assert_close

from mixexp.neural import (
    FeedForwardExperts,
    MoELayer,
    RoutingInputs,
    TopKRouter,
    selection_entropy_loss,
)


def _weights_and_slopes(score: str):
    """Weights (T, E) and the slope of the first expert's weights in all scores (E,)."""
    torch.manual_seed(0)
    router = TopKRouter(6, 4, k=4, score=score, bias=True)
    weights = router(RoutingInputs(torch.randn(50, 6))).weights()
    weights[:, 0].sum().backward()
    return weights, router.score.bias.grad


def test_a_weight_depends_on_its_own_score_alone() -> None:
    """Where softmax weights compete, each pays for the others."""
    weights, slopes = _weights_and_slopes("sigmoid")
    assert_close(slopes[0], (weights[:, 0] * (1 - weights[:, 0])).sum().detach())
    assert_close(slopes[1:], torch.zeros(3))
    _, slopes = _weights_and_slopes("softmax")
    assert bool((slopes[1:] < -0.1).all())


def test_all_experts_with_saturated_scores_are_one_wide_network() -> None:
    torch.manual_seed(0)
    bank = FeedForwardExperts(4, 6, 5, activation="relu", bias=False)
    router = TopKRouter(6, 4, k=4, score="sigmoid", bias=True)
    with torch.no_grad():
        router.score.bias.fill_(20.0)
    x = torch.randn(30, 6)
    wide = torch.relu(x @ bank.w1.permute(1, 0, 2).flatten(1)) @ bank.w2.flatten(0, 1)
    assert_close(MoELayer(router, bank)(x), wide, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("size", [0.0, 30.0], ids=["balanced", "collapsed"])
def test_the_loss_lies_between_balance_and_collapse(size) -> None:
    router = TopKRouter(3, 4, k=2, score="sigmoid", bias=True)
    with torch.no_grad():
        router.score.weight.zero_()
        router.score.bias.copy_(size * (2 * torch.eye(4)[0] - 1))
    loss = selection_entropy_loss(router(RoutingInputs(torch.randn(9, 3))).stats)
    assert_close(loss, torch.tensor(0.0 if size else -math.log(4.0)), rtol=1e-5, atol=1e-5)


def test_the_loss_spreads_what_collapses() -> None:
    """A step down its gradient raises the scores of experts that are chosen less."""
    torch.manual_seed(0)
    router = TopKRouter(3, 4, k=2, score="sigmoid", bias=True)
    with torch.no_grad():
        router.score.bias.copy_(torch.tensor([3.0, 1.0, -1.0, -3.0]))
    selection_entropy_loss(router(RoutingInputs(torch.randn(200, 3))).stats).backward()
    slopes = router.score.bias.grad
    assert slopes[0] > 0 and bool((slopes[2:] < 0).all())
