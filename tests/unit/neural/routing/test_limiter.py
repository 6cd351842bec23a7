"""Capacity: who stays, who goes, what is counted, and who competes with whom."""

from __future__ import annotations

import math

import pytest
import torch
from torch.testing import assert_close

from mixexp.neural import (
    CapacityLimiter,
    Clock,
    FeedForwardExperts,
    MissingRoutingInputError,
    MoELayer,
    RouterFlags,
    RoutingInputs,
    TopKRouter,
)
from mixexp.neural.routing.limiter import POLICIES, SCOPES

DIM, N_EXPERTS, N_UNITS = 6, 4, 48
every_policy = pytest.mark.parametrize("policy", POLICIES)
every_scope = pytest.mark.parametrize("scope", SCOPES)


def given(training=True, draw=0, **changes) -> RoutingInputs:
    x = torch.randn(N_UNITS, DIM, generator=torch.Generator().manual_seed(1)) + 0.7
    fields = {
        "x": x,
        "segment": torch.arange(4).repeat_interleave(12),
        "clock": Clock(training=training),
        "generator": torch.Generator().manual_seed(draw),
    }
    return RoutingInputs(**(fields | changes))


def routed(inputs, k=2):
    torch.manual_seed(0)
    return TopKRouter(DIM, N_EXPERTS, k)(inputs)


def pairs(routing) -> set:
    return set(zip(routing.unit.tolist(), routing.expert.tolist()))


@every_policy
@every_scope
def test_a_factor_of_the_number_of_experts_changes_nothing(policy, scope) -> None:
    routing = routed(given())
    limited = CapacityLimiter(N_EXPERTS, policy=policy, scope=scope)(routing, given())
    for name in ("unit", "slot", "weight", "rank"):
        assert torch.equal(getattr(limited, name), getattr(routing, name))
    assert limited.stats.n_dropped == 0


@every_policy
@every_scope
@pytest.mark.parametrize("factor", [0.3, 1.0, 1.25])
def test_no_expert_takes_more_and_none_is_left_idle(policy, scope, factor) -> None:
    """Every expert of every scope computes min(chosen, capacity) units."""
    segment = torch.arange(4).repeat_interleave(torch.tensor([6, 18, 20, 4]))
    inputs = given(valid=torch.arange(N_UNITS) % 12 < 9, segment=segment)
    routing = routed(inputs)
    limited = CapacityLimiter(factor, policy=policy, scope=scope)(routing, inputs)
    assert pairs(limited) <= pairs(routing)
    part_of = inputs.segment if scope == "sequence" else torch.zeros_like(inputs.segment)
    dropped = 0
    for part in part_of.unique():
        here = [r.expert[part_of[r.unit] == part] for r in (routing, limited)]
        chosen, kept = (torch.bincount(e, minlength=N_EXPERTS) for e in here)
        capacity = math.ceil(factor * int(chosen.sum()) / N_EXPERTS - 1e-9)
        assert torch.equal(kept, chosen.clamp_max(capacity))
        dropped += int((chosen - capacity).clamp_min(0).sum())
    assert dropped > 0
    assert limited.stats.n_dropped == dropped
    assert torch.equal(limited.stats.counts, routing.stats.counts)
    assert torch.equal(limited.weights()[limited.unit, limited.expert], limited.weight)


def test_positions_keep_first_choices_then_the_earliest() -> None:
    routing = routed(given())
    limited = CapacityLimiter(0.5)(routing, given())
    capacity = math.ceil(0.5 * routing.n_pairs / N_EXPERTS)
    for e in range(N_EXPERTS):
        rows = routing.expert == e
        queue = sorted(zip(routing.rank[rows].tolist(), routing.unit[rows].tolist()))[:capacity]
        assert {(unit, e) for _, unit in queue} == {p for p in pairs(limited) if p[1] == e}


def test_probabilities_keep_the_largest_weights_and_the_earliest_among_equals() -> None:
    routing = routed(given())
    limiter = CapacityLimiter(0.5, policy="probability")
    limited = limiter(routing, given())
    lost = pairs(routing) - pairs(limited)
    weights = routing.weights().detach()
    for e in range(N_EXPERTS):
        kept = [float(weights[t, e]) for t, f in pairs(limited) if f == e]
        gone = [float(weights[t, e]) for t, f in lost if f == e]
        assert not gone or min(kept) >= max(gone)
    same = routed(given(x=torch.ones(N_UNITS, DIM)), k=1)
    assert limiter(same, given()).unit.tolist() == list(range(6))
    reverse = same.replace(priority=torch.arange(N_UNITS).float())
    assert limiter(reverse, given()).unit.tolist() == list(range(42, 48))


def test_rounding_makes_no_place() -> None:
    """1.1 times ten units are eleven, and in floating point a little more."""
    everything = routed(given(x=torch.ones(40, DIM), segment=None), k=1)
    assert everything.counts.max() == 40
    assert (
        CapacityLimiter(1.1)(everything, given(x=torch.ones(40, DIM), segment=None)).n_pairs == 11
    )


def test_random_places_come_from_the_generator() -> None:
    limiter = CapacityLimiter(0.5, policy="random")
    routing = routed(given())
    limited = limiter(routing, given(draw=3))
    draw = torch.rand(N_UNITS, generator=torch.Generator().manual_seed(3))
    for e in range(N_EXPERTS):  # one draw a unit, whatever the rank of its choice
        queue = sorted(routing.unit[routing.expert == e].tolist(), key=lambda t: draw[t])
        assert {t for t, f in pairs(limited) if f == e} == set(queue[:12])
    assert len({frozenset(pairs(limiter(routing, given(draw=d)))) for d in range(5)}) == 5


@every_policy
def test_sequences_do_not_compete_with_one_another(policy) -> None:
    limiter = CapacityLimiter(0.75, policy=policy, scope="sequence")
    inputs = given()
    other = given(x=torch.where((inputs.segment == 2)[:, None], inputs.x, inputs.x.flip(1)))
    first, second = (limiter(routed(i), i) for i in (inputs, other))
    assert [p for p in sorted(pairs(first)) if 24 <= p[0] < 36] == [
        p for p in sorted(pairs(second)) if 24 <= p[0] < 36
    ]
    assert pairs(first) != pairs(second)
    with pytest.raises(MissingRoutingInputError, match="segment"):
        limiter(routed(given()), given(segment=None))


def test_prediction_is_dropless_unless_told() -> None:
    inputs = given(training=False)
    routing = routed(inputs)
    assert CapacityLimiter(0.5)(routing, inputs) is routing
    assert CapacityLimiter(0.5, training_only=False)(routing, inputs).n_pairs < routing.n_pairs


def test_flags_say_what_is_still_promised() -> None:
    layers = {
        name: MoELayer(TopKRouter(DIM, N_EXPERTS), FeedForwardExperts(N_EXPERTS, DIM, 4), limiter=l)
        for name, l in {
            "none": None,
            "training": CapacityLimiter(1.0),
            "always": CapacityLimiter(1.0, training_only=False, policy="random"),
            "sequence": CapacityLimiter(1.0, training_only=False, scope="sequence"),
            "unknown": lambda routing, inputs: routing,
        }.items()
    }
    plain = RouterFlags()
    assert layers["none"].flags(False) == layers["none"].flags(True) == plain
    assert layers["training"].flags(False) == plain
    assert not layers["training"].flags(True).batch_independent
    assert layers["always"].flags(False) == RouterFlags(
        causal=False, batch_independent=False, variable_k=True, stochastic=True
    )
    sequence = layers["sequence"].flags(False)
    assert sequence.batch_independent and not sequence.causal
    noisy = RouterFlags(batch_independent=False, stochastic=True)
    behind = CapacityLimiter(1.0, scope="sequence").flags(noisy, True)
    assert behind.stochastic and not behind.batch_independent
    assert not layers["unknown"].flags(False).batch_independent


def test_a_layer_drops_what_its_limiter_drops() -> None:
    """A unit without a place gets nothing from the experts, and keeps its residual."""
    limiter = CapacityLimiter(0.25, training_only=False)
    torch.manual_seed(0)
    layer = MoELayer(
        TopKRouter(DIM, N_EXPERTS, 1),
        FeedForwardExperts(N_EXPERTS, DIM, 4),
        limiter=limiter,
        residual=True,
    )
    inputs = given(training=False)
    routing = layer.route(inputs)
    out = layer.combine(inputs.x, routing)
    gone = torch.ones(N_UNITS, dtype=torch.bool).index_fill(0, routing.unit, False)
    assert int(gone.sum()) == int(routing.stats.n_dropped) > N_UNITS // 2
    assert_close(out[gone], inputs.x[gone])
    assert not torch.isclose(out[~gone], inputs.x[~gone]).all(1).any()


def test_what_two_limits_drop_adds_up() -> None:
    routing = routed(given())
    limited = CapacityLimiter(0.5)(CapacityLimiter(1.0)(routing, given()), given())
    assert limited.stats.n_dropped == routing.n_pairs - limited.n_pairs


def test_wrong_settings_are_named() -> None:
    for wrong in ({"factor": 0.0}, {"factor": math.nan}, {"factor": 1.0, "policy": "first"}):
        with pytest.raises(ValueError):
            CapacityLimiter(**wrong)
    with pytest.raises(ValueError, match="scope must be one of"):
        CapacityLimiter(1.0, scope="token")
    routing = routed(given())
    slots = routing.replace(slot_expert=torch.arange(N_EXPERTS))
    with pytest.raises(ValueError, match="slots"):
        CapacityLimiter(1.0)(slots, given())
    assert "policy='position'" in repr(CapacityLimiter(1.0))
