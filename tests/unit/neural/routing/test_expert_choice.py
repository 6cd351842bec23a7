"""Expert choice: the units that each expert takes, by scope and under limits."""

from __future__ import annotations

import math

import pytest
import torch
from torch.testing import assert_close

from mixexp.neural import ExpertChoiceRouter, FeedForwardExperts, MoELayer, RoutingInputs


def _inputs(n=60, **fields) -> RoutingInputs:
    return RoutingInputs(torch.randn(n, 6, generator=torch.Generator().manual_seed(0)), **fields)


def _router(*options, **named) -> ExpertChoiceRouter:
    torch.manual_seed(0)
    return ExpertChoiceRouter(6, 4, *options, **named)


@pytest.mark.parametrize("capacity", [0.5, 1.0, 1.3, 2.0])
def test_it_equals_an_argsort_by_expert(capacity) -> None:
    router, given = _router(capacity), _inputs()
    probs = torch.softmax(router.score(given.x), 1).detach()
    size = math.ceil(60 * capacity / 4)
    wanted = torch.zeros(60, 4)
    for expert in range(4):
        taken = sorted(range(60), key=lambda unit: -float(probs[unit, expert]))[:size]
        wanted[taken, expert] = probs[taken, expert]
    routing = router(given)
    assert_close(routing.weights(), wanted)
    assert routing.counts.tolist() == [size] * 4


def test_full_capacity_is_the_dense_layer() -> None:
    router, given = _router(4.0), _inputs()
    bank = FeedForwardExperts(4, 6, 5)
    probs = torch.softmax(router.score(given.x), 1)
    dense = torch.einsum("te,etd->td", probs, bank.every(given.x))
    assert_close(MoELayer(router, bank)(given.x), dense)


def test_a_sequence_is_routed_as_if_alone() -> None:
    """Segments of different lengths, in any order."""
    segment = torch.tensor([5] * 25 + [2] * 3 + [9] * 32)
    segment = segment[torch.randperm(60, generator=torch.Generator().manual_seed(1))]
    router, given = _router(scope="sequence"), _inputs(segment=segment)
    weights = router(given).weights()
    for number in (2, 5, 9):
        own = segment == number
        alone = router(given.take(own))
        assert_close(weights[own], alone.weights())
        assert alone.counts.tolist() == [math.ceil(int(own.sum()) * 2 / 4)] * 4


def test_ties_go_to_the_first_unit_of_the_scope() -> None:
    x = torch.zeros(12, 6)
    taken = _router(1.0)(RoutingInputs(x)).weights() > 0
    assert taken.all(1).nonzero().flatten().tolist() == [0, 1, 2]
    segment, position = torch.arange(12) // 6, torch.arange(5, -1, -1).repeat(2)
    given = RoutingInputs(x, segment=segment, position=position)
    taken = _router(1.0, scope="sequence")(given).weights() > 0
    assert taken.all(1).nonzero().flatten().tolist() == [4, 5, 10, 11]


@pytest.mark.parametrize("scope", ["batch", "sequence"])
def test_no_unit_has_more_than_the_cap_and_experts_stay_full(scope) -> None:
    segment = torch.arange(60) // 20
    free, capped = (_router(1.5, scope=scope, max_experts=cap) for cap in (None, 2))
    given = _inputs(segment=segment)
    assert torch.bincount(free(given).unit).max() > 2
    routing = capped(given)
    assert torch.bincount(routing.unit).max() == 2
    full = [{"batch": 23, "sequence": 3 * 8}[scope]] * 4
    assert routing.counts.tolist() == free(given).counts.tolist() == full


def test_a_cap_that_does_not_bind_changes_nothing() -> None:
    given = _inputs()
    assert_close(_router(max_experts=4)(given).weights(), _router()(given).weights())


def test_the_capped_choice_loses_little() -> None:
    """Against a programme's optimum, which for whole limits is whole."""
    from scipy.optimize import linear_sum_assignment

    router, given = _router(1.0, max_experts=1), _inputs()
    probs = torch.softmax(router.score(given.x), 1).detach()
    unit, place = linear_sum_assignment(-probs.repeat_interleave(15, 1).numpy())
    best = float(probs[unit, place // 15].sum())
    assert router(given).weight.sum().item() > 0.98 * best


@pytest.mark.parametrize(
    "options", [{"capacity_factor": 0.0}, {"scope": "sample"}, {"max_experts": 1}]
)
def test_impossible_settings_are_refused(options) -> None:
    with pytest.raises(ValueError, match="must be"):
        _router(**options)
