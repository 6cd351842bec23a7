"""Routers whose experts compute mixtures: what enters the slots and what comes back."""

from __future__ import annotations

import pytest
import torch
from torch.testing import assert_close

from mixexp.neural import (
    FeedForwardExperts,
    MissingRoutingInputError,
    MoELayer,
    RoutingInputs,
    SoftRouter,
    TokenMixingRouter,
)


def _inputs(n_segments=3, length=5, **fields) -> RoutingInputs:
    x = torch.randn(n_segments * length, 6, generator=torch.Generator().manual_seed(0))
    place = {
        "segment": torch.arange(n_segments).repeat_interleave(length),
        "position": torch.arange(length).repeat(n_segments),
    }
    return RoutingInputs(x, **(place | fields))


def _by_slot(routing, values):
    n_slots = len(routing.slot_expert)
    return values.new_zeros(n_slots).index_add(0, routing.slot, values)


def _by_unit(routing, values):
    return values.new_zeros(routing.n_units).index_add(0, routing.unit, values)


@pytest.mark.parametrize("normalize", [False, True])
def test_soft_dispatch_sums_to_one_by_slot_and_combination_by_unit(normalize) -> None:
    torch.manual_seed(0)
    valid = torch.arange(15) % 4 > 0
    for routing in (
        SoftRouter(6, 4, 2, normalize=normalize)(_inputs(valid=valid)),
        SoftRouter(6, 4, 2, normalize=normalize)(_inputs(visible=torch.arange(4) != 2)),
    ):
        slots = len(routing.slot_expert)
        assert_close(_by_slot(routing, routing.dispatch), torch.ones(slots))
        wanted = torch.ones(15)
        if routing.stats.n_units < 15:
            wanted = valid.float()
        assert_close(_by_unit(routing, routing.weight), wanted)


def test_experts_compute_their_slots_whatever_the_length() -> None:
    router = SoftRouter(6, 4, 2)
    for length in (1, 5, 50):
        assert router(_inputs(length=length)).counts.tolist() == [3 * 2] * 4


def test_a_segment_of_padding_has_no_slots() -> None:
    valid = torch.arange(15) >= 5
    assert SoftRouter(6, 4, 2)(_inputs(valid=valid)).counts.tolist() == [2 * 2] * 4


def test_soft_outputs_follow_the_order_of_units_and_equal_units_agree() -> None:
    torch.manual_seed(0)
    layer = MoELayer(SoftRouter(6, 4, 2), FeedForwardExperts(4, 6, 8))
    x = torch.randn(2, 7, 6)
    order = torch.randperm(7)
    assert_close(layer(x[:, order]), layer(x)[:, order])
    same = layer(x[:, :1].expand(2, 7, 6))
    assert_close(same, same[:, :1].expand_as(same))


def test_unequal_segments_do_not_mix() -> None:
    torch.manual_seed(0)
    layer = MoELayer(SoftRouter(6, 4), FeedForwardExperts(4, 6, 8))
    x, segment = torch.randn(9, 6), torch.tensor([7, 7, 3, 7, 3, 3, 3, 3, 9])
    y = layer(x, segment=segment)
    for number in (3, 7, 9):
        own = segment == number
        assert_close(layer(x[own], segment=segment[own]), y[own])


@pytest.mark.parametrize("size", [1, 2, None])
def test_mixing_weights_sum_to_one_by_group_and_expert(size) -> None:
    torch.manual_seed(0)
    routing = TokenMixingRouter(6, 4, size)(_inputs())
    groups = {1: 15, 2: 10, None: 5}[size]
    assert_close(_by_slot(routing, routing.weight), torch.ones(groups * 4))
    assert torch.equal(routing.weight, routing.dispatch)
    assert_close(routing.stats.weight_sum, torch.full((4,), float(groups)))


def test_only_equal_positions_mix() -> None:
    """Segments that lack a position leave the others to themselves."""
    torch.manual_seed(0)
    given = _inputs().take(torch.arange(15) != 9)
    routing = TokenMixingRouter(6, 4)(given)
    for slot in range(len(routing.slot_expert)):
        assert len(given.position[routing.unit[routing.slot == slot]].unique()) == 1
    assert routing.counts.tolist() == [5] * 4


def test_a_group_of_one_is_the_sum_of_all_experts() -> None:
    torch.manual_seed(0)
    bank = FeedForwardExperts(4, 6, 8)
    x = torch.randn(3, 5, 6)
    layer = MoELayer(TokenMixingRouter(6, 4, 1), bank)
    assert_close(layer(x), bank.every(x.flatten(0, 1)).sum(0).view_as(x))


def test_low_temperatures_leave_the_expert_to_one_unit() -> None:
    torch.manual_seed(0)
    router = TokenMixingRouter(6, 4, temperature=1e-4)
    weights = router(_inputs()).weights().view(3, 5, 4)
    best = router.score(_inputs().x).view(3, 5, 4).argmax(0)
    assert_close(weights.detach(), torch.zeros(3, 5, 4).scatter(0, best[None], 1.0))


@pytest.mark.parametrize("name", ["segment", "position"])
def test_places_are_needed(name) -> None:
    with pytest.raises(MissingRoutingInputError, match=name):
        TokenMixingRouter(6, 4)(_inputs(**{name: None}))


def test_impossible_settings_are_refused() -> None:
    with pytest.raises(ValueError, match="slots_per_expert must be"):
        SoftRouter(6, 4, 0)
    with pytest.raises(ValueError, match="group_size must be"):
        TokenMixingRouter(6, 4, 0)
    with pytest.raises(ValueError, match="temperature must be"):
        TokenMixingRouter(6, 4, temperature=0.0)
