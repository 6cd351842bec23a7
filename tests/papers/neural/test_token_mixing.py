"""Mixture of tokens (Antoniak et al., 2024): causal, coupled over the batch, nobody starved."""

from __future__ import annotations

import pytest
import torch
from torch.testing import assert_close

from mixexp.neural import (
    FeedForward,
    FeedForwardExperts,
    MoELayer,
    TokenMixingRouter,
    TopKRouter,
)

from .claims import wins
from .learning import gains, over_seeds


def _layer(router) -> MoELayer:
    torch.manual_seed(1)
    return MoELayer(router, FeedForwardExperts(8, 6, 8))


def test_the_layer_is_the_published_one() -> None:
    """The same weights mix the units and hand the output back."""
    torch.manual_seed(0)
    router = TokenMixingRouter(6, 8, temperature=0.7)
    layer, x = _layer(router), torch.randn(4, 5, 6)
    weight = torch.softmax(x @ router.score.weight.T / 0.7, 0)
    mixtures = torch.einsum("gte,gtd->etd", weight, x)
    outputs = layer.experts(mixtures.flatten(0, 1), [5] * 8).view(8, 5, 6)
    assert_close(layer(x), torch.einsum("gte,etd->gtd", weight, outputs))


def test_time_is_respected_and_the_batch_is_not() -> None:
    torch.manual_seed(0)
    layer, x = _layer(TokenMixingRouter(6, 8)), torch.randn(4, 10, 6)
    later, other = x.clone(), x.clone()
    later[:, 6:] = torch.randn(4, 4, 6)
    other[1:] = torch.randn(3, 10, 6)
    assert_close(layer(later)[:, :6], layer(x)[:, :6])
    assert (layer(other)[0] - layer(x)[0]).abs().max() > 0.1
    alone = _layer(TokenMixingRouter(6, 8, 1))
    assert_close(alone(other)[0], alone(x)[0])


def test_no_expert_starves_where_top_k_starves_some() -> None:
    torch.manual_seed(0)
    x = torch.randn(8, 20, 6) + torch.tensor([4.0, 0, 0, 0, 0, 0])
    shares = []
    for router in (TokenMixingRouter(6, 8), TopKRouter(6, 8, 2)):
        layer = _layer(router)
        total = layer.route(layer.inputs(x)).stats.weight_sum
        shares.append((total / total.sum()).min().item())
    assert shares[0] > 0.99 / 8
    assert shares[1] < 0.3 / 8


@pytest.mark.slow
def test_mixtures_learn_more_than_a_dense_layer_of_equal_operations() -> None:
    """Eight experts see one mixture each of eight units: a unit costs what one expert does."""
    dense = over_seeds(lambda: FeedForward(16, 16, out_dim=32))
    experts = lambda: FeedForwardExperts(8, 16, 16, out_dim=32)  # noqa: E731
    mixed = over_seeds(lambda: MoELayer(TokenMixingRouter(16, 8), experts()))
    assert wins(gains(dense, mixed, share=0.6))
