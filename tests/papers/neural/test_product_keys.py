"""Mixture of a million experts (He, 2024): exact retrieval at a cost that E hardly touches."""

from __future__ import annotations

import pytest
import torch
from torch.testing import assert_close
from torch.utils._python_dispatch import TorchDispatchMode

from mixexp.neural import (
    FeedForward,
    MoELayer,
    NeuronExperts,
    ProductKeyRouter,
    RoutingInputs,
    RoutingTrace,
    count_active,
)

from .claims import wins
from .comparisons import peer
from .learning import gains, over_seeds


class _LargestTensor(TorchDispatchMode):
    """Records the number of elements of the largest tensor that an operation makes."""

    size = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        found = function(*args, **(kwargs or {}))
        for tensor in found if isinstance(found, (tuple, list)) else [found]:
            if isinstance(tensor, torch.Tensor):
                self.size = max(self.size, tensor.numel())
        return found


def test_a_million_experts_are_never_scored_one_by_one() -> None:
    torch.manual_seed(0)
    n_experts, x = 2**20, torch.randn(64, 16)
    router = ProductKeyRouter(16, n_experts, 8, n_heads=4)
    largest = _LargestTensor()
    with largest:
        routing = router(RoutingInputs(x, segment=torch.arange(64)))
        routing.weight.square().sum().backward()
    assert largest.size <= n_experts < 64 * n_experts
    assert router.row_keys.grad.abs().sum() > 0
    total = torch.zeros(64).index_add(0, routing.unit, routing.weight.detach())
    assert_close(total, torch.full((64,), 4.0))


def test_one_head_with_all_experts_is_a_dense_layer_weighted_by_the_softmax() -> None:
    torch.manual_seed(0)
    router, bank = ProductKeyRouter(6, 30, 30, n_heads=1), NeuronExperts(30, 6)
    x = torch.randn(12, 6)
    query = router.query(x).view(12, 2, router.key_dim)
    rows, columns = query[:, 0] @ router.row_keys.T, query[:, 1] @ router.column_keys.T
    scores = (rows[:, :, None] + columns[:, None]).flatten(1)[:, :30]
    hidden = torch.nn.functional.gelu(x @ bank.u.T)
    dense = (torch.softmax(scores, 1) * hidden) @ bank.v
    assert_close(MoELayer(router, bank)(x), dense)


@pytest.mark.slow
def test_retrieved_neurons_learn_more_than_a_dense_layer_of_equal_cost() -> None:
    """The dense layer gets the operations of the retrieval as further hidden units."""
    layer, trace = peer(), RoutingTrace()
    layer(torch.randn(100, 16), trace=trace)
    hidden = round(count_active(layer, trace).flops / (2 * (16 + 32)))
    assert hidden > 16
    dense = over_seeds(lambda: FeedForward(16, hidden, out_dim=32))
    assert wins(gains(dense, over_seeds(peer)))
