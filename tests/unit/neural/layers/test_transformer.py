"""`MoETransformerLM`: causality, padding, what routers are given, and generation."""

from __future__ import annotations

import pytest
import torch
from torch.testing import assert_close

from mixexp.neural import (
    ROUTERS,
    CapacityLimiter,
    Clock,
    FeedForward,
    MoELayer,
    MoETransformerLM,
    MultiHeadMoE,
    RoutingTrace,
    TopKRouter,
)

DIM = 16


def model(layer=None, **options) -> MoETransformerLM:
    torch.manual_seed(0)
    plain = lambda i: MoELayer.feed_forward(DIM, 32, 4, 2)  # noqa: E731
    return MoETransformerLM(layer or plain, dim=DIM, n_heads=2, context=12, **options).eval()


def tokens(batch=3, length=10) -> torch.Tensor:
    return torch.randint(256, (batch, length), generator=torch.Generator().manual_seed(1))


def residual(i):
    return MoELayer.feed_forward(
        DIM, 32, 4, 2, router=lambda d, e, k: TopKRouter(d, e, k, gating_residual=True)
    )


LAYERS = {
    "moe": None,
    "dense": lambda i: FeedForward(DIM, 32),
    "heads": lambda i: MultiHeadMoE.feed_forward(DIM, 32, 4, 2, heads=2),
    "gating_residual": residual,
    "mixed": lambda i: FeedForward(DIM, 32) if i == 0 else MoELayer.feed_forward(DIM, 32, 4, 2),
}


@pytest.mark.parametrize("name", LAYERS)
def test_later_tokens_and_other_rows_change_nothing(name) -> None:
    lm, given = model(LAYERS[name]), tokens()
    logits = lm(given)
    changed = given.clone()
    changed[:, 6:] = (changed[:, 6:] + 1) % 256
    assert_close(lm(changed)[:, :6], logits[:, :6])
    assert_close(lm(given[:1]), logits[:1])
    assert (lm(changed)[:, 6:] - logits[:, 6:]).abs().max() > 1e-2


@pytest.mark.parametrize("name", LAYERS)
def test_padding_changes_nothing_on_either_side(name) -> None:
    lm, given = model(LAYERS[name]), tokens(2, 6)
    for noise in (0, 17):
        filler = torch.full((2, 3), noise)
        right = torch.cat([given, filler], 1)
        valid = torch.tensor([True] * 6 + [False] * 3).expand(2, 9)
        trace = RoutingTrace()
        logits = lm(right, valid=valid, trace=trace)
        assert_close(logits[:, :6], lm(given))
        assert torch.isfinite(logits).all()
        assert all(s.n_units in (12, 24) for s in trace.stats)
    # on the left the places differ, so only the padding's own tokens must not matter
    left = [torch.cat([torch.full((2, 3), n), given], 1) for n in (0, 17)]
    valid = valid.flip(1)
    assert_close(lm(left[0], valid=valid)[:, 3:], lm(left[1], valid=valid)[:, 3:])


def test_routers_are_given_what_is_known() -> None:
    seen = []

    class Spy(TopKRouter):
        def route(self, inputs):
            seen.append(inputs)
            return super().route(inputs)

    router = lambda d, e, k: Spy(d, e, k, gating_residual=True)  # noqa: E731
    lm = model(lambda i: MoELayer.feed_forward(DIM, 32, 4, 2, router=router)).train()
    given, generator = tokens(), torch.Generator()
    lm(given, task_id=torch.ones_like(given), clock=Clock(3, 9, True), generator=generator)
    first, second = seen
    assert torch.equal(first.token_id, given.flatten())
    assert torch.equal(first.segment, torch.arange(3).repeat_interleave(10))
    assert torch.equal(first.position, torch.arange(10).repeat(3))
    assert (first.layer, second.layer, first.n_layers) == (0, 1, 2)
    assert first.clock.step == 3 and first.generator is generator and first.valid is None
    assert first.task_id.sum() == 30
    assert first.state is None and second.state.shape == (30, 4)
    lm(given)  # training comes from the module where no clock is given
    assert seen[-1].training and seen[-1].state is not None and seen[-2].state is None


@pytest.mark.parametrize("name", sorted(ROUTERS))
def test_routers_that_are_not_causal_are_refused_by_name(name) -> None:
    from ....contracts.router_cases import DIM as WIDTH
    from ....contracts.router_cases import bank, build

    router = build(name)
    make = lambda i: MoELayer(router, bank())  # noqa: E731
    if all(router.flags(training).causal for training in (True, False)):
        MoETransformerLM(make, dim=WIDTH, n_heads=2)
        return
    with pytest.raises(ValueError, match=f"layer 0 routes by {type(router).__name__}.*not causal"):
        MoETransformerLM(make, dim=WIDTH, n_heads=2)


def test_limits_and_merges_over_a_sequence_are_refused_too() -> None:
    with pytest.raises(ValueError, match=r"CapacityLimiter.* not causal in training:"):
        model(lambda i: MoELayer.feed_forward(DIM, 32, 4, 2, limiter=CapacityLimiter(1.0)))
    with pytest.raises(ValueError, match="merge='sequence'.*training and prediction"):
        model(
            lambda i: MoELayer.feed_forward(DIM, 32, 4, 2, combine="parameters", merge="sequence")
        )


def test_impossible_calls_are_refused() -> None:
    lm = model()
    with pytest.raises(ValueError, match="context holds 12"):
        lm(tokens(1, 13))
    trace = RoutingTrace()
    lm(tokens(), trace=trace)
    with pytest.raises(ValueError, match="new RoutingTrace"):
        lm(tokens(), trace=trace)
    with pytest.raises(ValueError, match="n_heads must divide"):
        MoETransformerLM(lambda i: FeedForward(10, 4), dim=10, n_heads=4)


def test_generation_is_greedy_seeded_and_longer_than_the_context() -> None:
    lm, given = model(), tokens(2, 4)
    greedy = lm.generate(given, 12, temperature=0.0)
    assert greedy.shape == (2, 16) and torch.equal(greedy[:, :4], given)
    assert torch.equal(greedy[:, 4], lm(given)[:, -1].argmax(-1))
    assert torch.equal(greedy[:, 15], lm(greedy[:, 3:15])[:, -1].argmax(-1))
    draws = [
        lm.generate(given, 5, generator=torch.Generator().manual_seed(seed)) for seed in (0, 0, 1)
    ]
    assert torch.equal(draws[0], draws[1]) and not torch.equal(draws[0], draws[2])
    assert not lm.training


def test_every_parameter_learns() -> None:
    lm = model(residual).train()
    trace = RoutingTrace()
    given = tokens()
    logits = lm(given, trace=trace)
    loss = torch.nn.functional.cross_entropy(logits[:, :-1].flatten(0, 1), given[:, 1:].flatten())
    loss.backward()
    without = {n for n, p in lm.named_parameters() if p.grad is None or not p.grad.any()}
    # the first layer has no scores before it
    assert without == {"blocks.0.layer.router.residual_score.weight"}
    assert len(trace) == 2
