"""Soft MoE (Puigcerver et al., 2024; Omni-SMoLA; soft mixture of adapters): formulas and cost."""

from __future__ import annotations

import torch
from torch.testing import assert_close

from mixexp.neural import FeedForwardExperts, MoELayer, SoftRouter


def test_the_layer_is_the_published_one() -> None:
    """With D the softmax over units and C the softmax over slots; exchanged it is another layer."""
    torch.manual_seed(0)
    router, bank = SoftRouter(6, 4, 3), FeedForwardExperts(4, 6, 8)
    x = torch.randn(2, 10, 6)
    scores = torch.einsum("bnd,sd->bns", x, router.score.weight)
    dispatch, combine = torch.softmax(scores, 1), torch.softmax(scores, 2)
    slots = torch.einsum("bns,bnd->bsd", dispatch, x).unflatten(1, (4, 3))
    rows = slots.transpose(0, 1).reshape(4 * 6, 6)
    outputs = bank(rows, [6] * 4).view(4, 2, 3, 6).transpose(0, 1).flatten(1, 2)
    layer = MoELayer(router, bank)
    assert_close(layer(x), torch.einsum("bns,bsd->bnd", combine, outputs))
    exchanged = torch.einsum("bns,bsd->bnd", dispatch, outputs)
    assert (layer(x) - exchanged).abs().max() > 0.1


def test_cost_goes_with_the_slots_and_every_unit_reaches_every_expert() -> None:
    torch.manual_seed(0)
    x = torch.randn(2, 10, 6)
    for n_experts, slots in ((2, 8), (8, 2), (16, 1)):
        bank = FeedForwardExperts(n_experts, 6, 4)
        layer = MoELayer(SoftRouter(6, n_experts, slots), bank)
        routing = layer.route(layer.inputs(x))
        assert int(routing.counts.sum()) == 2 * 16
        layer(x)[0, 3].sum().backward()
        assert (bank.w1.grad.flatten(1).abs().amax(1) > 0).all()


def test_one_sample_does_not_depend_on_the_others() -> None:
    torch.manual_seed(0)
    layer = MoELayer(SoftRouter(6, 4, 2), FeedForwardExperts(4, 6, 8))
    x = torch.randn(3, 10, 6)
    assert_close(layer(x)[:1], layer(x[:1]))
