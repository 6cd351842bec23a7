"""Promises of every bank of experts."""

from __future__ import annotations

import copy

import pytest
import torch
from torch.testing import assert_close

from mixexp.neural import RoutingInputs, SoftRouter
from mixexp.neural.experts.mixing import mixed_by_gathering

from .bank_cases import BANKS, DIM, N_UNITS, build, route, units

every_bank = pytest.mark.parametrize("case", BANKS)
learning_bank = pytest.mark.parametrize("case", [name for name in BANKS if name != "zero"])


def dense_sum(bank, x, routing):
    """The definition: every expert on every unit, weighted."""
    return torch.einsum("te,etd->td", routing.weights().to(x.dtype), bank.every(x))


def values_and_gradients(function, bank, x, routing):
    """The output, and gradients of x, of the weights and of what the bank learns."""
    x = x.clone().requires_grad_()
    weight = routing.weight.detach().clone().requires_grad_()
    y = function(bank, x, routing.replace(weight=weight))
    wanted = [x, weight, *(p for p in bank.parameters() if p.requires_grad)]
    grads = [None] * len(wanted)
    if y.requires_grad:  # null experts have no gradient at all
        grads = torch.autograd.grad(y.double().sin().sum(), wanted, allow_unused=True)
    return [y, *(torch.zeros_like(w) if g is None else g for w, g in zip(wanted, grads))]


def mix(bank, x, routing):
    return bank.mix(x, routing)


def uneven(x, bank):
    """Routings by name: all chosen, some experts empty, units without expert, one expert alone."""
    given = route(x, bank)
    alone = torch.zeros(bank.n_experts, dtype=torch.bool)
    alone[1] = True
    return {
        "top-2": given,
        "dense": route(x, bank, k=bank.n_experts),
        "empty": given.select(given.expert != 1),
        "dropped": given.select(given.unit % 3 > 0),
        "alone": route(x, bank, visible=alone),
        "nothing": given.select(given.unit < 0),
    }


@every_bank
@pytest.mark.parametrize("kind", ["top-2", "dense", "empty", "dropped", "alone", "nothing"])
def test_mix_equals_the_dense_sum_in_values_and_gradients(case, kind) -> None:
    bank = build(case).double()
    x = units()
    routing = uneven(x, bank)[kind]
    found = values_and_gradients(mix, bank, x, routing)
    for fast, dense in zip(found, values_and_gradients(dense_sum, bank, x, routing), strict=True):
        assert_close(fast, dense)


@every_bank
def test_slots_are_rows_of_their_experts(case) -> None:
    """Mixtures of units in slots, two an expert in each of two segments: by the definition."""
    bank = build(case).double()
    x = units()
    torch.manual_seed(0)
    router = SoftRouter(DIM, bank.n_experts, 2).double()
    routing = router(RoutingInputs(x, segment=torch.arange(N_UNITS) % 2))
    entering = torch.zeros(len(routing.slot_expert), DIM, dtype=torch.float64)
    entering.index_add_(0, routing.slot, routing.dispatch[:, None] * x[routing.unit])
    outputs = bank.every(entering)[routing.slot_expert, torch.arange(len(entering))]
    wanted = torch.zeros(N_UNITS, bank.out_dim, dtype=torch.float64)
    wanted = wanted.index_add(0, routing.unit, routing.weight[:, None] * outputs[routing.slot])
    assert_close(bank.mix(x, routing), wanted)


@every_bank
@pytest.mark.parametrize("n", [0, 1])
def test_few_units(case, n) -> None:
    bank = build(case).double()
    x = units(n)
    found = values_and_gradients(mix, bank, x, route(x, bank))
    assert found[0].shape == (n, bank.out_dim)
    for fast, dense in zip(found, values_and_gradients(dense_sum, bank, x, route(x, bank))):
        assert_close(fast, dense)


@learning_bank
def test_gradients_are_those_of_the_function_twice(case) -> None:
    """First and second order against finite differences, in x, weights and parameters."""
    bank = build(case).double()
    x = units(3)
    routing = route(x, bank)
    names = [name for name, p in bank.named_parameters() if p.requires_grad]

    def function(x, weight, *values):
        call = ("mix", x, routing.replace(weight=weight))
        return torch.func.functional_call(Calling(bank), named(names, values), call)

    given = [x, routing.weight.detach(), *(p.detach() for p in learned(bank))]
    given = [tensor.clone().requires_grad_() for tensor in given]
    assert torch.autograd.gradcheck(function, given, fast_mode=True)
    assert torch.autograd.gradgradcheck(function, given, fast_mode=True)


class Calling(torch.nn.Module):
    """A bank whose forward pass calls any of its methods."""

    def __init__(self, bank):
        super().__init__()
        self.bank = bank

    def forward(self, method, *arguments):
        return getattr(self.bank, method)(*arguments)


def named(names, values) -> dict:
    return {f"bank.{name}": value for name, value in zip(names, values)}


def learned(bank) -> list:
    return [p for p in bank.parameters() if p.requires_grad]


@learning_bank
@pytest.mark.filterwarnings("ignore:`torch.jit.script`:DeprecationWarning")  # by torch itself
def test_function_transforms_and_forward_mode(case) -> None:
    """`torch.func.grad` and `jvp` agree with backward."""
    bank = build(case).double()
    x = units(4)
    routing = route(x, bank)
    routing = routing.replace(weight=routing.weight.detach())
    leaf = x.clone().requires_grad_()
    direction = units(4, seed=5)
    found = torch.autograd.grad(bank.mix(leaf, routing).sin().sum(), leaf)[0]
    assert_close(torch.func.grad(lambda x: bank.mix(x, routing).sin().sum())(x), found)
    with torch.autograd.forward_ad.dual_level():
        dual = torch.autograd.forward_ad.make_dual(x, direction)
        y = bank.mix(dual, routing).sin().sum()
        slope = torch.autograd.forward_ad.unpack_dual(y).tangent
    assert_close(slope, (found * direction).sum())


@every_bank
def test_every_is_each_expert_on_all_units(case) -> None:
    bank = build(case).double()
    x = units()
    every = bank.every(x)
    assert every.shape == (bank.n_experts, N_UNITS, bank.out_dim)
    for e in range(bank.n_experts):
        counts = [0] * bank.n_experts
        counts[e] = N_UNITS
        assert_close(bank(x, counts), every[e])


@every_bank
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=["bfloat16", "float16"])
def test_half_precision_is_near_and_keeps_its_type(case, dtype) -> None:
    """Numbers of rows that are no multiple of anything, and gradients too."""
    bank = build(case)
    x = units(101)
    routing = route(x, bank)
    routing = routing.replace(weight=routing.weight.float())
    low = values_and_gradients(mix, copy.deepcopy(bank).to(dtype), x.to(dtype), routing)
    exact = values_and_gradients(mix, bank.double(), x, routing)
    assert low[0].dtype == dtype
    for a, b in zip(low, exact, strict=True):
        assert (a.double() - b.double()).norm() <= 0.15 * b.double().norm() + 1e-6


@every_bank
def test_autocast_is_the_lower_precision(case) -> None:
    bank = build(case)
    x = units(40, dtype=torch.float32)
    routing = route(x, bank)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        low = values_and_gradients(mix, bank, x, routing)
        twin = mixed_by_gathering(bank, x, routing)
    exact = values_and_gradients(mix, bank, x, routing)
    assert low[0].dtype == twin.dtype
    for a, b in zip(low, exact, strict=True):
        assert (a.double() - b.double()).norm() <= 0.15 * b.double().norm() + 1e-6
    for a in low[1:]:
        assert a.dtype == torch.float32 or a.shape == routing.weight.shape


@every_bank
def test_frozen_parts_get_no_gradient_and_change_none(case) -> None:
    bank = build(case).double()
    x = units()
    routing = route(x, bank)
    routing = routing.replace(weight=routing.weight.detach())

    def gradients(bank):
        bank.mix(x, routing).square().sum().backward()
        return {name: p.grad for name, p in bank.named_parameters()}

    names = [name for name, p in bank.named_parameters() if p.requires_grad]
    if not names:
        return
    whole = gradients(copy.deepcopy(bank))
    for frozen in names:
        part = copy.deepcopy(bank)
        part.get_parameter(frozen).requires_grad_(False)
        if not any(p.requires_grad for p in part.parameters()):
            continue
        found = gradients(part)
        assert found.pop(frozen) is None
        for name, grad in found.items():
            if grad is not None:
                assert_close(grad, whole[name])


@every_bank
def test_inputs_are_left_as_they_are_and_nothing_is_kept(case) -> None:
    bank = build(case).double()
    x = units()
    routing = route(x, bank)
    before = x.clone(), routing.weight.clone(), routing.unit.clone(), set(vars(bank))
    values_and_gradients(mix, bank, x, routing)
    assert torch.equal(x, before[0]) and torch.equal(routing.weight, before[1])
    assert torch.equal(routing.unit, before[2]) and set(vars(bank)) == before[3]


@every_bank
def test_state_dict_holds_everything(case) -> None:
    bank, other = build(case), build(case, seed=9)
    x = units(dtype=torch.float32)
    routing = route(x, bank)
    other.load_state_dict(bank.state_dict())
    assert torch.equal(bank.mix(x, routing), other.mix(x, routing))


def test_widths() -> None:
    for case in BANKS:
        bank = build(case)
        assert bank.dim == DIM
        assert bank.n_experts == len(bank.every(torch.zeros(1, DIM)))
