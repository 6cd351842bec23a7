"""AdaMoE (Zeng et al., 2024): null experts let units take fewer true ones."""

from __future__ import annotations

import pytest
import torch
from torch.testing import assert_close

from mixexp.neural import (
    BankList,
    FeedForwardExperts,
    MoELayer,
    RoutingTrace,
    TopKRouter,
    ZeroExperts,
    load_balancing_loss,
)

N_TRUE, N_NULL = 4, 4


def layer_of(n_null=N_NULL, k=3, normalize="sum", n_true=N_TRUE):
    torch.manual_seed(0)
    bank = FeedForwardExperts(n_true, 6, 8)
    if n_null:
        bank = BankList([bank, ZeroExperts(n_null, 6)])
    return MoELayer(TopKRouter(6, n_true + n_null, k, normalize=normalize), bank)


def routed(layer, x):
    routing = layer.route(layer.inputs(x))
    return routing, routing.weights()


@pytest.mark.parametrize("normalize", ["sum", "detached_sum"])
def test_weights_of_true_experts_sum_to_one_and_all_null_gives_zero(normalize) -> None:
    layer, x = layer_of(normalize=normalize), torch.randn(300, 6, requires_grad=True)
    routing, weights = routed(layer, x)
    n_true = torch.bincount(routing.unit[routing.expert < N_TRUE], minlength=300)
    assert n_true.unique().tolist() == [0, 1, 2, 3]
    assert bool((weights[:, N_TRUE:] == 0).all())
    assert_close(weights.sum(1), (n_true > 0).float())
    y = layer(x)
    assert bool((y[n_true == 0] == 0).all())
    y.square().sum().backward()
    for gradient in (x.grad, layer.router.score.weight.grad):
        assert bool(gradient.isfinite().all())
    # by hand: the probabilities of the chosen true experts, over their sum
    chosen = torch.zeros_like(weights, dtype=torch.bool)
    chosen[routing.unit, routing.expert] = True
    kept = torch.where(chosen[:, :N_TRUE], routing.probs[:, :N_TRUE], 0.0)
    by_hand = kept / kept.sum(1, keepdim=True).clamp_min(1e-30)
    assert_close(weights[:, :N_TRUE], by_hand)


def test_without_normalisation_and_without_null_experts_weights_are_as_before() -> None:
    x = torch.randn(50, 6)
    routing, weights = routed(layer_of(normalize=None), x)
    assert_close(weights[routing.unit, routing.expert], routing.probs[routing.unit, routing.expert])
    _, weights = routed(layer_of(n_null=0, k=2), x)
    assert_close(weights.sum(1), torch.ones(50))


def test_null_experts_in_one_group_share_the_pressure_of_the_balance_loss() -> None:
    """Their mean load is what counts: the gradient on every null probability is the same."""
    trace = RoutingTrace()
    layer_of()(torch.randn(200, 6) + 1.0, trace=trace)
    stats = trace.stats[0]
    prob_sum = stats.prob_sum.detach().requires_grad_()
    groups = [*range(N_TRUE), *[N_TRUE] * N_NULL]
    loss = load_balancing_loss(stats.replace(prob_sum=prob_sum), groups=groups)
    (gradient,) = torch.autograd.grad(loss, prob_sum)
    assert len(stats.counts[N_TRUE:].unique()) > 1
    assert_close(gradient[N_TRUE:], gradient[N_TRUE].expand(N_NULL))
    share = stats.counts / stats.counts.sum()
    share[N_TRUE:] = share[N_TRUE:].mean()
    n_experts = N_TRUE + N_NULL
    assert_close(loss, n_experts * (share * prob_sum / 200).sum())
