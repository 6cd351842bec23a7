"""Merged experts: where they equal mixed outputs, where not, and one expert an item."""

from __future__ import annotations

import pytest
import torch
from torch.testing import assert_close

from mixexp.neural import (
    CapacityLimiter,
    ExpertBank,
    FeedForwardExperts,
    GatedExperts,
    HeterogeneousExperts,
    IA3Experts,
    MLPExperts,
    MoELayer,
    SoftRouter,
    TopKRouter,
)
from mixexp.neural.experts import merging

DIM, E = 6, 4
BANKS = {
    "ffn": lambda: FeedForwardExperts(E, DIM, 5, activation="relu", bias=True),
    "gated": lambda: GatedExperts(E, DIM, 5),
    "mlp": lambda: MLPExperts(E, DIM, 5, n_layers=2),
    "linear": lambda: MLPExperts(E, DIM, 5, n_layers=0),
    "ia3": lambda: IA3Experts(E, DIM),
}


def layers(bank: str, k: int, **options) -> tuple[MoELayer, MoELayer]:
    """The same router and experts, combined by outputs and by parameters."""
    torch.manual_seed(0)
    router = TopKRouter(DIM, E, k, **({"order": "select_then_activate"} if k > 1 else {}))
    experts = BANKS[bank]()
    with torch.no_grad():
        for parameter in experts.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    given = {"shared": torch.nn.Linear(DIM, DIM), "residual": True}
    ways = [{"combine": "outputs"}, {"combine": "parameters", **options}]
    return tuple(MoELayer(router, experts, **given, **way).double() for way in ways)


def units(*shape) -> torch.Tensor:
    return torch.randn(*shape, DIM, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("bank", ["linear", "ia3"])
def test_linear_experts_merge_exactly(bank) -> None:
    by_outputs, by_parameters = layers(bank, 3)
    x = units(20).requires_grad_()
    a, b = by_outputs(x), by_parameters(x)
    assert_close(a, b)
    given = [x, *by_outputs.parameters()]
    first, second = (torch.autograd.grad(y.square().sum(), given) for y in (a, b))
    assert_close(first, second)


@pytest.mark.parametrize("bank", BANKS)
def test_one_expert_of_weight_one_is_itself(bank) -> None:
    by_outputs, by_parameters = layers(bank, 2)
    with torch.no_grad():  # so sharp that the first of two experts has weight one
        for layer in (by_outputs, by_parameters):
            layer.router.score.weight.copy_(1e6 * torch.randn(E, DIM))
    x = units(20)
    assert_close(by_outputs(x), by_parameters(x))


@pytest.mark.parametrize("bank", ["ffn", "gated", "mlp"])
def test_experts_that_bend_do_not(bank) -> None:
    by_outputs, by_parameters = layers(bank, 3)
    assert (by_outputs(units(20)) - by_parameters(units(20))).abs().max() > 1e-2


@pytest.mark.parametrize("bank", ["ffn", "gated"])
def test_two_layer_experts_merge_without_making_the_merged_matrices(bank) -> None:
    _, layer = layers(bank, 3)
    x = units(20).requires_grad_()
    routing = layer.route(layer.inputs(x))
    short, whole = (
        layer.experts.mix_merged(x, routing),
        ExpertBank.mix_merged(layer.experts, x, routing),
    )
    assert_close(short, whole)
    given = [x, *layer.experts.parameters(), layer.router.score.weight]
    first, second = (
        torch.autograd.grad(y.square().sum(), given, retain_graph=True) for y in (short, whole)
    )
    assert_close(first, second)


@pytest.mark.parametrize("bank", BANKS)
@pytest.mark.parametrize("merge", ["sequence", "task"])
def test_items_have_one_expert_with_their_mean_weights(bank, merge) -> None:
    _, layer = layers(bank, 3, merge=merge)
    x = units(3, 5)
    valid = torch.ones(3, 5, dtype=torch.bool)
    valid[1, 3:] = False
    item = torch.arange(3)[:, None].expand(3, 5)
    task = torch.tensor([1, 0, 1])[:, None].expand(3, 5)
    own = item if merge == "sequence" else task
    y = layer(x, valid=valid, task_id=task)
    weights = layer.route(layer.inputs(x, valid=valid, task_id=task)).weights().view(3, 5, E)
    for i in own.unique():
        units_of = (own == i) & valid
        mean = weights[units_of].mean(0)
        experts = BANKS[bank]().double()
        with torch.no_grad():
            for mine, stack in zip(experts.parameters(), layer.experts.parameters()):
                mine.copy_((mean.view(E, *[1] * (stack.ndim - 1)) * stack).sum(0))
        rows = x[units_of]
        expected = experts(rows, [len(rows)] + [0] * (E - 1)) + layer.shared(rows) + rows
        assert_close(y[units_of], expected)
    padded = x[~valid]
    assert_close(y[~valid], layer.shared(padded) + padded)


def test_a_sequence_router_gives_its_sequence_one_expert() -> None:
    """Per token or per sequence is then the same: all tokens have the same weights."""
    torch.manual_seed(0)
    router = TopKRouter(DIM, E, 2, level="sequence", order="select_then_activate")
    experts = BANKS["gated"]()
    x = units(3, 5).float().requires_grad_()
    outputs = [
        MoELayer(router, experts, combine="parameters", merge=merge)(x)
        for merge in ("token", "sequence")
    ]
    assert_close(*outputs)
    given = [x, *router.parameters(), *experts.parameters()]
    first, second = (torch.autograd.grad(y.square().sum(), given) for y in outputs)
    assert_close(first, second)


def test_mixture_of_vectors_starts_as_the_frozen_model() -> None:
    layer = MoELayer(TopKRouter(DIM, E, E), IA3Experts(E, DIM), combine="parameters")
    x = units(7).float()
    assert_close(layer(x), x)


def test_merging_gives_up_what_it_must() -> None:
    layer = MoELayer(TopKRouter(DIM, E), BANKS["ffn"](), combine="parameters", merge="sequence")
    assert not layer.flags(False).causal and layer.flags(False).batch_independent
    layer = MoELayer(TopKRouter(DIM, E), BANKS["ffn"](), combine="parameters", merge="task")
    assert not layer.flags(True).batch_independent
    layer = MoELayer(TopKRouter(DIM, E), BANKS["ffn"](), limiter=CapacityLimiter(1.0))
    assert layer.flags(False).causal and not layer.flags(True).causal


def test_what_cannot_be_merged_is_refused_by_name() -> None:
    router = TopKRouter(DIM, E)
    with pytest.raises(ValueError, match="HeterogeneousExperts"):
        MoELayer(router, HeterogeneousExperts([1, 2, 3, 4], DIM), combine="parameters")
    with pytest.raises(ValueError, match='give combine="parameters"'):
        MoELayer(router, BANKS["ffn"](), merge="task")
    with pytest.raises(ValueError, match="combine must be one of"):
        MoELayer(router, BANKS["ffn"](), combine="weights")
    layer = MoELayer(router, BANKS["ffn"](), combine="parameters", merge="task")
    with pytest.raises(ValueError, match=r"routes by task_id"):
        layer(units(3).float())
    routing = layer.route(layer.inputs(units(3).float(), task_id=torch.zeros(3)))
    with pytest.raises(ValueError, match=r"layer.items\(inputs\)"):
        layer.combine(units(3).float(), routing)
    slots = MoELayer(SoftRouter(DIM, E), BANKS["ffn"](), combine="parameters")
    with pytest.raises(ValueError, match="SoftRouter mixes units in slots"):
        slots(units(1, 3).float())


def test_units_are_merged_in_blocks_that_fit_the_memory(monkeypatch) -> None:
    _, layer = layers("mlp", 3)
    x = units(20)
    whole = layer(x)
    monkeypatch.setattr(merging, "BLOCK", 1000)  # parameters of a few units
    assert_close(layer(x), whole)


def test_the_identity_path_of_a_router_is_added_either_way() -> None:
    for layer in layers("ffn", 3):
        x = units(20)
        routing = layer.route(layer.inputs(x))
        share = torch.linspace(0, 1, 20, dtype=torch.float64)
        added = layer.combine(x, routing.replace(residual=share)) - layer.combine(x, routing)
        assert_close(added, share[:, None] * x)
