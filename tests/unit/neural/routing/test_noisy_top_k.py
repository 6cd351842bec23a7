"""Noisy top-k: the smooth load estimate is the probability it claims to be."""

from __future__ import annotations

import pytest
import torch
from torch.testing import assert_close

from mixexp.neural import Clock, NoisyTopKRouter, RoutingInputs, TopKRouter
from mixexp.neural.routing.noisy_top_k import probability_of_choice


def _inputs(n=64, dim=6, *, training=True, seed=0, **fields) -> RoutingInputs:
    source = torch.Generator().manual_seed(seed)
    return RoutingInputs(
        torch.randn(n, dim, generator=source),
        clock=Clock(training=training),
        generator=source,
        **fields,
    )


def _router(n_experts=5, k=2, **options) -> NoisyTopKRouter:
    torch.manual_seed(0)
    return NoisyTopKRouter(6, n_experts, k, zero_init=False, **options)


@pytest.mark.parametrize("k", [1, 2, 4, 5])
def test_probability_of_choice_is_the_frequency_of_choice(k) -> None:
    """Redraw the noise of one expert, keep that of the others, and count."""
    n_draws, n_experts = 20_000, 5
    source = torch.Generator().manual_seed(k)
    clean = torch.randn(1, n_experts, generator=source, dtype=torch.float64)
    std = torch.rand(1, n_experts, generator=source, dtype=torch.float64) + 0.3
    noisy = clean + std * torch.randn(1, n_experts, generator=source, dtype=torch.float64)
    chance = probability_of_choice(clean, noisy, std, k, RoutingInputs(torch.zeros(1, 1)))[0]
    for expert in range(n_experts):
        drawn = noisy.repeat(n_draws, 1)
        own = torch.randn(n_draws, generator=source, dtype=torch.float64)
        drawn[:, expert] = clean[0, expert] + std[0, expert] * own
        chosen = (drawn.topk(k, 1).indices == expert).any(1).double().mean()
        slack = 4 * (chance[expert] * (1 - chance[expert]) / n_draws).sqrt() + 1e-9
        assert abs(chosen - chance[expert]) < slack


def test_the_expected_load_is_the_expected_count() -> None:
    stats = _router()(_inputs(20_000)).stats
    assert_close(stats.load_sum / 20_000, stats.counts / 20_000, atol=0.015, rtol=0)
    assert not torch.equal(stats.load_sum, stats.counts)


def test_without_noise_it_is_the_plain_router_and_the_load_is_the_count() -> None:
    router = _router()
    plain = TopKRouter(6, 5, 2, order="select_then_activate")
    plain.score.load_state_dict(router.score.state_dict())
    given = _inputs(training=False)
    a, b = router(given), plain(given)
    assert_close(a.weights(), b.weights())
    assert torch.equal(a.stats.load_sum, a.stats.counts)


def test_the_load_teaches_scores_and_noise() -> None:
    router = _router()
    router(_inputs()).stats.load_sum.square().sum().backward()
    for score in (router.score, router.noise_score):
        assert score.weight.grad.abs().max() > 1e-3


@pytest.mark.parametrize("n_visible", [1, 2, 3])
def test_few_visible_experts_are_chosen_surely_and_gradients_stay_finite(n_visible) -> None:
    router = _router()
    visible = torch.arange(5) < n_visible
    routing = router(_inputs(visible=visible))
    assert bool((routing.stats.load_sum[~visible] == 0).all())
    if n_visible <= 2:
        assert_close(routing.stats.load_sum[visible], torch.full((n_visible,), 64.0))
    (routing.stats.load_sum.square().sum() + routing.weight.square().sum()).backward()
    for parameter in router.parameters():
        assert torch.isfinite(parameter.grad).all()


def test_padding_is_not_in_the_load() -> None:
    valid = torch.arange(64) < 10
    routing = _router()(_inputs(valid=valid))
    assert routing.stats.load_sum.sum() < 10 * 5
    assert_close(routing.stats.counts.sum(), torch.tensor(20.0))


def test_one_choice_among_several_is_refused() -> None:
    with pytest.raises(ValueError, match="k=1 the weight is always one"):
        NoisyTopKRouter(6, 5, 1)
    with pytest.raises(ValueError, match="min_std"):
        NoisyTopKRouter(6, 5, min_std=0.0)
