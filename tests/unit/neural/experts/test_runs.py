"""Experts that share a call, and the rows that fill their runs up."""

from __future__ import annotations

import pytest
import torch

from mixexp.neural import FeedForwardExperts, GatedExperts, RoutingInputs, TopKRouter
from mixexp.neural.experts.runs import CALL, Layout, pairs_of

DIM, HIDDEN = 24, 16
# the first run has eight experts, the next two, the last one; two experts are idle
SHARES = [30, 31, 29, 30, 32, 31, 30, 29, 0, 900, 880, 0, 400]


def routing_of(shares, x):
    """Each unit to one expert, these numbers of units to each, in mixed order."""
    expert = torch.repeat_interleave(torch.arange(len(shares)), torch.tensor(shares))
    expert = expert[torch.randperm(len(x), generator=torch.Generator().manual_seed(0))]
    router = TopKRouter(DIM, len(shares), 1)
    visible = torch.nn.functional.one_hot(expert, len(shares)).bool()
    routing = router(RoutingInputs(x, visible=visible))
    weight = torch.rand(len(x), generator=torch.Generator().manual_seed(1))
    return routing.replace(weight=weight)


def units():
    return torch.randn(sum(SHARES), DIM, generator=torch.Generator().manual_seed(2))


def test_layouts_hold_every_pair_once_and_fill_up_with_rows_of_the_same_expert() -> None:
    routing = routing_of(SHARES, units())
    layout = Layout(pairs_of(routing), half=True, size=CALL // 64)
    assert [(run.first, run.n) for run in layout.runs] == [(0, 8), (9, 2), (12, 1)]
    assert layout.n_rows > routing.n_pairs
    numbers = torch.arange(1.0, routing.n_pairs + 1)
    rows = layout.of_rows(numbers)
    assert torch.equal(layout.of_pairs(rows), numbers)
    assert int((rows != 0).sum()) == routing.n_pairs
    expert_of_unit = torch.empty(routing.n_units, dtype=torch.int64)
    expert_of_unit[routing.unit] = routing.slot
    for part, run in zip(layout.cut(layout.unit), layout.runs):
        for e, units_of_expert in enumerate(part, start=run.first):
            assert (expert_of_unit[units_of_expert] == e).all()


@pytest.mark.parametrize("kind", [FeedForwardExperts, GatedExperts])
def test_rows_that_fill_up_change_nothing(kind) -> None:
    """Output and gradients are near those of float64, for runs of every length."""
    torch.manual_seed(3)
    bank = kind(len(SHARES), DIM, HIDDEN, bias=True)
    x = units()
    routing = routing_of(SHARES, x)

    def values(dtype):
        own = kind(len(SHARES), DIM, HIDDEN, bias=True).to(dtype)
        own.load_state_dict(bank.state_dict())
        leaf = x.to(dtype).requires_grad_()
        weight = routing.weight.clone().requires_grad_()
        y = own.mix(leaf, routing.replace(weight=weight))
        return y, *torch.autograd.grad(y.float().sin().sum(), [leaf, weight, *own.parameters()])

    for low, exact in zip(values(torch.bfloat16), values(torch.float64), strict=True):
        difference = (low.double() - exact.double()).norm()
        assert difference <= 0.02 * exact.double().norm()
