"""The Gumbel-softmax gate: limits, evaluation, and the hard variant."""

from __future__ import annotations

import pytest
import torch
from torch.testing import assert_close

from mixexp.neural import Clock, GumbelRouter, RoutingInputs


def _inputs(n=64, *, training=False, seed=1) -> RoutingInputs:
    source = torch.Generator().manual_seed(seed)
    x = torch.randn(n, 6, generator=torch.Generator().manual_seed(0))
    return RoutingInputs(x, clock=Clock(training=training), generator=source)


def _router(n_experts=5, seed=0, **options) -> GumbelRouter:
    torch.manual_seed(seed)
    weight = torch.randn(n_experts, 6)
    router = GumbelRouter(6, n_experts, **options)
    with torch.no_grad():
        router.score.weight.copy_(weight)
    return router


def test_without_noise_it_is_the_softmax() -> None:
    router, given = _router(n_samples=0, tau=0.7), _inputs()
    assert_close(router(given).weights(), torch.softmax(router.score(given.x) / 0.7, 1))


@pytest.mark.parametrize("training", [False, True])
def test_temperature_spreads_or_chooses(training) -> None:
    given = _inputs(training=training)
    flat = _router(tau=1e6)(given).weights()
    assert_close(flat, torch.full_like(flat, 0.2), atol=1e-4, rtol=0)
    if training:
        sharp = _router(tau=1e-3)(given).weights()
        assert sharp.max(1).values.min() > 0.99


def _expected_gate(router, given, n_draws=4000):
    """The expectation of the gate, by brute force."""
    logits = router.score(given.x)
    noise = torch.distributions.Gumbel(0.0, 1.0).sample((n_draws, *logits.shape))
    return torch.softmax((logits + noise) / router.tau, -1).mean(0)


def test_more_samples_come_nearer_to_the_expected_gate() -> None:
    given = _inputs()
    exact = _expected_gate(_router(), given)

    def error(evaluation, n_samples):
        found = [
            _router(seed=seed, evaluation=evaluation, n_samples=n_samples) for seed in range(6)
        ]
        for router in found:
            router.score.load_state_dict(_router().score.state_dict())
        errors = [
            (router(_inputs(seed=seed)).weights() - exact).square().mean()
            for seed, router in enumerate(found)
        ]
        return torch.stack(errors).mean().detach()

    free = {n: error("sampled", n) for n in (1, 10)}
    assert 5 < free[1] / free[10] < 20  # a mean of ten independent draws
    assert error("fixed", 10) < 0.5 * free[10]


def test_fixed_noise_favours_no_expert() -> None:
    router = _router()
    sums = router.fixed_noise.sort(0).values
    assert_close(sums, sums[:, :1].expand_as(sums))
    assert len({tuple(column.tolist()) for column in router.fixed_noise.T}) > 1


def test_hard_training_draws_from_the_softmax_with_weight_one() -> None:
    router = _router(n_experts=3, hard=True)
    row = _inputs(1).x
    given = _inputs(1, training=True).replace(x=row.expand(20_000, 6))
    routing = router(given)
    assert bool((routing.weight == 1).all())
    chance = torch.softmax(router.score(row)[0], 0)
    assert_close(routing.stats.counts / 20_000, chance.detach(), atol=0.015, rtol=0)
    routing.weight.sum().backward()
    assert router.score.weight.grad.abs().max() > 0


def test_hard_prediction_takes_the_most_probable() -> None:
    router, given = _router(hard=True), _inputs()
    routing = router(given)
    assert torch.equal(routing.weights().argmax(1), router.score(given.x).argmax(1))
    assert not routing.weight.requires_grad


@pytest.mark.parametrize("options", [{"tau": 0.0}, {"n_samples": -1}, {"evaluation": "mean"}])
def test_impossible_settings_are_refused(options) -> None:
    with pytest.raises(ValueError, match="must be"):
        GumbelRouter(6, 4, **options)
