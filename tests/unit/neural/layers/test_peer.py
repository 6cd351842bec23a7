"""`PEERLayer` against a dense layer and against all of its neurons."""

from __future__ import annotations

import torch
from torch import nn
from torch.testing import assert_close
from torch.utils.flop_counter import FlopCounterMode

from mixexp.neural import (
    FeedForward,
    MoELayer,
    MoETransformerLM,
    PEERLayer,
    RoutingTrace,
    count_active,
)


def test_all_neurons_of_equal_weight_are_a_dense_layer() -> None:
    torch.manual_seed(0)
    layer, dense = PEERLayer(6, 16, 16, n_heads=1), FeedForward(6, 16)
    nn.init.zeros_(layer.router.query.weight)
    with torch.no_grad():
        dense.expert.w1.copy_(layer.experts.u.t()[None])
        dense.expert.w2.copy_(layer.experts.v[None])
    x = torch.randn(5, 6)
    assert_close(16 * layer(x), dense(x))


def test_output_is_the_sum_over_heads_of_their_best_neurons() -> None:
    torch.manual_seed(0)
    layer = PEERLayer(6, 25, 3, n_heads=2, key_dim=4)
    x = torch.randn(7, 6)
    router, bank = layer.router, layer.experts
    query = router.query(x).view(7, 2, 2, 4)
    rows, columns = query[:, :, 0] @ router.row_keys.t(), query[:, :, 1] @ router.column_keys.t()
    scores = (rows[..., :, None] + columns[..., None, :]).flatten(2)
    best = scores.topk(3)
    inner = nn.functional.gelu(x @ bank.u.t())[:, None].expand(7, 2, 25).gather(2, best.indices)
    weight = torch.softmax(best.values, -1) * inner
    assert_close(layer(x), torch.einsum("thk,thkd->td", weight, bank.v[best.indices]))


def test_gradients_reach_router_and_neurons_also_as_sparse_tensors() -> None:
    torch.manual_seed(0)
    dense = PEERLayer(6, 25, 3, n_heads=2)
    sparse = PEERLayer(6, 25, 3, n_heads=2, sparse=True)
    sparse.load_state_dict(dense.state_dict())
    x = torch.randn(4, 6)
    for layer in (dense, sparse):
        layer(x).square().sum().backward()
    assert sparse.experts.u.grad.is_sparse
    for name, parameter in dense.named_parameters():
        other = dict(sparse.named_parameters())[name].grad
        assert parameter.grad.any()
        assert_close(other.to_dense() if other.is_sparse else other, parameter.grad)


def test_cost_counts_every_head() -> None:
    """Neurons are gathered, which PyTorch does not count: the router's products it does."""
    layer, trace = PEERLayer(6, 25, 25, n_heads=2, key_dim=4), RoutingTrace()
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        layer.router(layer.inputs(torch.randn(10, 6)))
    assert layer.router.flops * 10 == counter.get_total_flops()
    layer(torch.randn(10, 6), trace=trace)
    assert count_active(layer, trace).flops == layer.router.flops + 25 * 2 * 12


def test_a_language_model_of_neurons_and_a_plain_layer_by_the_inherited_way() -> None:
    lm = MoETransformerLM(lambda i: PEERLayer(8, 16, 2, n_heads=2), dim=8, n_heads=2)
    assert torch.isfinite(lm(torch.zeros(1, 4, dtype=torch.long))).all()
    assert type(PEERLayer.feed_forward(8, 16, 4, 2)) is MoELayer
