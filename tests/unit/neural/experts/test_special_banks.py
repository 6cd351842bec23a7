"""What is particular to each kind of bank; what all owe is in the contract."""

from __future__ import annotations

import pytest
import torch
from torch.testing import assert_close

from mixexp.neural import (
    BankList,
    ConstantExperts,
    CopyExperts,
    FactorizedExperts,
    FeedForwardExperts,
    GatedExperts,
    HeterogeneousExperts,
    LoRAExperts,
    ModuleExperts,
    MoELayer,
    NeuronExperts,
    RoutingInputs,
    TopKRouter,
    ZeroExperts,
)


def units(n, dim, seed=0):
    return torch.randn(n, dim, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def route(x, n_experts, k, seed=1):
    torch.manual_seed(seed)
    return TopKRouter(x.shape[1], n_experts, k).double()(RoutingInputs(x))


def randomised(bank):
    torch.manual_seed(4)
    with torch.no_grad():
        for parameter in bank.parameters():
            parameter.normal_(std=0.5)
    return bank.double()


@pytest.mark.parametrize("gated", [False, True])
def test_heterogeneous_experts_of_one_width_are_the_homogeneous_bank(gated) -> None:
    torch.manual_seed(0)
    bank = HeterogeneousExperts([5, 5, 5], 4, gated=gated)
    torch.manual_seed(0)
    other = (GatedExperts if gated else FeedForwardExperts)(3, 4, 5)
    assert_close(dict(bank.state_dict()), dict(other.state_dict()))


def test_each_heterogeneous_expert_is_a_network_of_its_width() -> None:
    bank = randomised(HeterogeneousExperts([2, 7, 3], 4, bias=True, activation="relu", out_dim=5))
    x = units(6, 4)
    first, second, shift1, shift2 = bank.weights.views()
    for e, h in enumerate([2, 7, 3]):
        assert first[e].shape == (4, h) and second[e].shape == (h, 5)
        by_hand = torch.relu(x @ first[e] + shift1[e]) @ second[e] + shift2[e]
        assert_close(bank.every(x)[e], by_hand)
    assert bank.cost.tolist() == [h * (4 + 1 + 5) + 5 for h in (2, 7, 3)]


@pytest.mark.parametrize("sizes", [[], [3, 0]])
def test_heterogeneous_experts_need_widths(sizes) -> None:
    with pytest.raises(ValueError, match="one positive width for each expert"):
        HeterogeneousExperts(sizes, 4)


def lora_bases():
    torch.manual_seed(0)
    return {
        "linear": torch.nn.Linear(4, 3),
        "feed_forward": FeedForwardExperts(1, 4, 6, bias=True),
        "gated": GatedExperts(1, 4, 6, out_dim=3),
    }


@pytest.mark.parametrize("name", list(lora_bases()))
def test_lora_experts_begin_as_their_frozen_base(name) -> None:
    base = lora_bases()[name].double()
    x = units(9, 4)
    wanted = base(x) if name == "linear" else base.every(x)[0]
    bank = LoRAExperts(base, 3, 2).double()
    for out in bank.every(x):
        assert_close(out, wanted)
    assert {n.split(".")[0] for n, p in bank.named_parameters() if p.requires_grad} == {
        "down",
        "up",
    }
    assert not any(p.requires_grad for p in bank.base.parameters())


@pytest.mark.parametrize("name", ["feed_forward", "gated"])
def test_lora_experts_equal_their_materialised_form(name) -> None:
    bank = randomised(LoRAExperts(lora_bases()[name], 3, 2, alpha=6.0))
    x = units(9, 4)
    whole = bank.materialised()
    assert type(whole) is (GatedExperts if name == "gated" else FeedForwardExperts)
    routing = route(x, 3, 2)
    assert_close(bank.mix(x, routing), whole.mix(x, routing))
    assert_close(bank.every(x), whole.every(x))


@pytest.mark.parametrize(("alpha", "scale"), [(None, 1.0), (6.0, 3.0)])
def test_lora_adds_updates_of_scale_alpha_over_rank(alpha, scale) -> None:
    base = torch.nn.Linear(4, 3)
    bank = randomised(LoRAExperts(base, 3, 2, alpha=alpha))
    x = units(9, 4)
    for e, out in enumerate(bank.every(x)):
        whole = base.weight.t() + scale * bank.down[0][e] @ bank.up[0][e]
        assert_close(out, x @ whole + base.bias)
    assert bank.cost.tolist() == [4 * 3 + 3 + 2 * (4 + 3)] * 3


def test_lora_experts_compute_the_base_once_a_unit() -> None:
    """The products' multiplications, counted: those with base matrices do not grow with k."""
    from torch.utils.flop_counter import FlopCounterMode

    base = FeedForwardExperts(1, 32, 64)
    bank = LoRAExperts(base, 8, 1)
    x = units(16, 32).float()
    flops = {}
    for k in (1, 8):
        routing = TopKRouter(32, 8, k)(RoutingInputs(x))
        with FlopCounterMode(display=False) as counter:
            bank.mix(x, routing)
        flops[k] = counter.get_total_flops()
    of_base = 16 * 2 * 2 * 32 * 64
    of_pair = 16 * 2 * 2 * (32 + 64)
    assert flops == {k: of_base + k * of_pair for k in (1, 8)}


def test_lora_refuses_what_it_cannot_adapt() -> None:
    with pytest.raises(ValueError, match="n_experts=1; got FeedForwardExperts"):
        LoRAExperts(FeedForwardExperts(2, 4, 6), 3, 2)
    with pytest.raises(ValueError, match="rank"):
        LoRAExperts(torch.nn.Linear(4, 3), 3, 0)
    with pytest.raises(ValueError, match="no feed-forward form"):
        LoRAExperts(torch.nn.Linear(4, 3), 3, 1).materialised()


@pytest.mark.parametrize(
    ("bank", "first"),
    [
        (FactorizedExperts(3, 4, 6, 2), "down"),
        (FeedForwardExperts(3, 4, 6, bias=True), "w1"),
        (GatedExperts(3, 4, 6), "w1"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, torch.nn.Module) else value,
)
def test_a_probe_is_the_first_product_of_every_expert(bank, first) -> None:
    bank, x = randomised(bank), units(5, 4)
    shift = getattr(bank, "b1", None)
    for e, matrix in enumerate(getattr(bank, first)):
        assert_close(bank.probe(x)[:, e], x @ matrix + (0.0 if shift is None else shift[e]))


def test_factorised_experts_equal_gated_ones() -> None:
    bank = randomised(FactorizedExperts(3, 4, 6, 2))
    x = units(5, 4)
    gated = GatedExperts(3, 4, 6).double()
    with torch.no_grad():
        gated.w1.copy_(torch.cat([bank.down @ bank.up, bank.linear], 2))
        gated.w2.copy_(bank.out)
    assert_close(bank.every(x), gated.every(x))


def test_all_neurons_are_a_dense_layer() -> None:
    bank = randomised(NeuronExperts(20, 4, out_dim=3))
    x = units(7, 4)
    routing = route(x, 20, 20)
    routing = routing.replace(weight=torch.ones_like(routing.weight))
    dense = torch.nn.functional.gelu(x @ bank.u.t()) @ bank.v
    assert_close(bank.mix(x, routing), dense)
    assert_close(bank.every(x).sum(0), dense)


def test_sparse_gradients_of_neurons_are_the_dense_ones() -> None:
    found = {}
    for sparse in (False, True):
        bank = randomised(NeuronExperts(20, 4, sparse=sparse))
        x = units(7, 4)
        bank.mix(x, route(x, 20, 2)).square().sum().backward()
        assert bank.u.grad.is_sparse == bank.v.grad.is_sparse == sparse
        found[sparse] = [g.to_dense() for g in (bank.u.grad, bank.v.grad)]
    assert_close(found[True], found[False])


def test_a_million_neurons_cost_what_is_chosen() -> None:
    """Forward and backward touch the pairs alone: with sparse gradients, a few rows of a table."""
    n = 2**20
    bank = NeuronExperts(n, 8, sparse=True)
    x = torch.randn(64, 8, generator=torch.Generator().manual_seed(0)).requires_grad_()
    expert = torch.randint(n, (64, 16), generator=torch.Generator().manual_seed(1))
    from mixexp.neural.routing import from_choices

    routing = from_choices(RoutingInputs(x), n, expert, torch.rand(64, 16))
    largest = []

    class Watch(torch.utils._python_dispatch.TorchDispatchMode):
        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            out = func(*args, **(kwargs or {}))
            whole = [out] if isinstance(out, torch.Tensor) else []
            largest.extend(t.numel() for t in whole if not t.is_sparse and not t._is_view())
            return out

    with Watch():
        bank.mix(x, routing).sum().backward()
    assert max(largest) <= 64 * 16 * 8
    assert bank.u.grad._nnz() == len(torch.unique(expert))


def test_cheap_experts() -> None:
    x = units(5, 4)
    constant = randomised(ConstantExperts(2, 4))
    share = torch.softmax(x @ constant.share[1], -1)
    by_hand = share[:, :1] * x + share[:, 1:] * constant.vector[1]
    assert_close(constant.every(x)[1], by_hand)
    for bank, value in ((ZeroExperts(2, 4), torch.zeros_like(x)), (CopyExperts(2, 4), x)):
        assert_close(bank.every(x)[0], value)
        assert bank.cost.tolist() == [0.0, 0.0]
        assert bank.null.tolist() == [not value.any()] * 2


def test_a_layer_of_null_experts_leaves_the_residual_stream() -> None:
    layer = MoELayer(TopKRouter(4, 3, 2), ZeroExperts(3, 4), residual=True)
    x = units(6, 4).float()
    assert torch.equal(layer(x), x)


def test_rows_for_null_experts_are_not_computed() -> None:
    x = units(50, 4)
    routing = route(x, 5, 2)
    from torch.utils.flop_counter import FlopCounterMode

    bank = BankList([FeedForwardExperts(2, 4, 6), CopyExperts(1, 4), ZeroExperts(2, 4)]).double()
    with FlopCounterMode(display=False) as counter:
        bank.mix(x, routing)
    for_networks = int((routing.expert < 2).sum())
    assert counter.get_total_flops() == for_networks * 2 * (4 * 6 + 6 * 4)
    assert bank.cost.tolist() == [48.0, 48.0, 0.0, 0.0, 0.0]
    assert bank.null.tolist() == [False, False, False, True, True]


def test_a_list_of_banks_is_the_bank_of_all_their_experts() -> None:
    whole = randomised(FeedForwardExperts(5, 4, 6))
    parts = [FeedForwardExperts(2, 4, 6).double(), FeedForwardExperts(3, 4, 6).double()]
    with torch.no_grad():
        for part, span in zip(parts, (slice(0, 2), slice(2, 5))):
            part.w1.copy_(whole.w1[span])
            part.w2.copy_(whole.w2[span])
    x = units(30, 4)
    assert_close(BankList(parts).mix(x, route(x, 5, 2)), whole.mix(x, route(x, 5, 2)))


def test_modules_cost_their_own_parameters() -> None:
    modules = [torch.nn.Linear(4, 4), torch.nn.Identity(), torch.nn.Linear(4, 4, bias=False)]
    assert ModuleExperts(modules, 4).cost.tolist() == [20.0, 0.0, 16.0]


def test_lists_refuse_what_does_not_fit() -> None:
    for banks in ([], [CopyExperts(1, 4), CopyExperts(1, 5)]):
        with pytest.raises(ValueError, match="one width"):
            BankList(banks)
    bank = ModuleExperts([torch.nn.Linear(4, 3), torch.nn.Linear(4, 4)], 4)
    with pytest.raises(ValueError, match=r"expert 0 .*\(2, 3\) for 2 rows; needed \(2, 4\)"):
        bank(torch.ones(2, 4), [2, 0])


def test_modules_without_rows_are_not_called() -> None:
    class Refusing(torch.nn.Module):
        def forward(self, rows):
            raise AssertionError("called without rows")

    bank = ModuleExperts([torch.nn.Identity(), Refusing()], 4)
    assert_close(bank(torch.ones(3, 4), [3, 0]), torch.ones(3, 4))
    with pytest.raises(AssertionError, match="called"):
        bank(torch.ones(3, 4), [2, 1])


def test_unknown_activations_are_refused() -> None:
    for build in (
        lambda: FeedForwardExperts(2, 4, 6, activation="tanh"),
        lambda: NeuronExperts(2, 4, activation="tanh"),
    ):
        with pytest.raises(ValueError, match="activation must be one of"):
            build()
