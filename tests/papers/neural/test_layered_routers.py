"""SMILE (He et al., 2022), RMoE (Qiu et al., 2025) and Autonomy-of-Experts (Lv et al., 2025)."""

from __future__ import annotations

import torch
from torch.testing import assert_close

from mixexp.neural import (
    ActivationNormRouter,
    FactorizedExperts,
    FeedForwardExperts,
    HierarchicalRouter,
    MoELayer,
    RecurrentRouter,
    RouterCell,
    RoutingTrace,
    TopKRouter,
)


def test_smile_sends_a_unit_to_few_groups() -> None:
    """Eight of 64 experts lie in two of eight groups; a flat choice spreads them over more."""
    torch.manual_seed(0)
    x = torch.randn(200, 16)
    visited = []
    for router in (HierarchicalRouter(16, 64, 8, k_groups=2, k_local=4), TopKRouter(16, 64, 8)):
        layer = MoELayer(router, FeedForwardExperts(64, 16, 2))
        chosen = layer.route(layer.inputs(x)).weights() > 0
        assert bool((chosen.sum(1) == 8).all())
        visited.append(chosen.view(200, 8, 8).any(2).sum(1).float().mean())
    assert visited[0] == 2
    assert visited[1] > 4


def _stack(detach):
    torch.manual_seed(0)
    cell = RouterCell(8)
    routers = [RecurrentRouter(6, 5, hidden=8, cell=cell, detach_state=detach) for _ in range(3)]
    return [MoELayer(r, FeedForwardExperts(5, 6, 8), residual=True) for r in routers]


def test_late_routing_teaches_early_routers() -> None:
    reached = {}
    for detach in (False, True):
        layers, trace = _stack(detach), RoutingTrace()
        x = torch.randn(20, 6)
        for layer in layers:
            layer(x, trace=trace)  # the same units: only the state joins the layers
        trace[2].weight.square().sum().backward()
        gradient = layers[0].router.project.weight.grad
        reached[detach] = gradient is not None and bool(gradient.abs().sum() > 0)
    assert reached == {False: True, True: False}


def test_the_state_changes_decisions_and_keeps_units_apart() -> None:
    layers = _stack(False)
    x = torch.randn(20, 6)
    with_state, without = RoutingTrace(), RoutingTrace()
    layers[0](x, trace=with_state)
    layers[1](x, trace=with_state)
    layers[1](x, trace=without)
    assert (with_state[1].weights() - without[0].weights()).abs().max() > 0.01
    alone = RoutingTrace()
    layers[0](x[:1], trace=alone)
    layers[1](x[:1], trace=alone)
    assert_close(alone[1].weights(), with_state[1].weights()[:1])


def test_an_expert_that_responds_more_is_chosen_more() -> None:
    """Its rate grows with the scale of its first factor, without a router that could learn it."""
    torch.manual_seed(0)
    bank = FactorizedExperts(8, 16, 8, 4)
    layer, x = MoELayer(ActivationNormRouter(16, 8), bank), torch.randn(500, 16)
    rates = []
    for scale in (0.3, 1.0, 3.0, 10.0):
        with torch.no_grad():
            bank.down[2] *= scale
            rates.append(float(layer.route(layer.inputs(x)).stats.counts[2]) / 500)
            bank.down[2] /= scale
    assert rates == sorted(rates)
    assert rates[0] < 0.05
    assert rates[-1] > 0.95


def test_choosing_all_experts_is_the_dense_sum_and_the_choice_teaches_the_experts() -> None:
    torch.manual_seed(0)
    bank, x = FactorizedExperts(4, 6, 8, 2), torch.randn(10, 6)
    layer = MoELayer(ActivationNormRouter(6, 4, 4), bank)
    weights = torch.softmax(bank.probe(x).norm(dim=2), 1)
    assert_close(layer(x), torch.einsum("te,etd->td", weights, bank.every(x)))
    layer.route(layer.inputs(x)).weight.square().sum().backward()
    assert bank.down.grad.abs().sum() > 0
    assert bank.out.grad is None
