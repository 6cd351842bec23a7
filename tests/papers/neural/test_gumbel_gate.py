"""(GG) MoE vs. MLP on tabular data (Chernov, 2025): what the noise of the gate does."""

from __future__ import annotations

import torch

from mixexp.neural import Clock, FeedForwardExperts, GumbelRouter, MoELayer, RoutingInputs


def test_predictions_repeat_and_do_not_depend_on_other_rows() -> None:
    torch.manual_seed(0)
    layer = MoELayer(GumbelRouter(5, 4), FeedForwardExperts(4, 5, 8)).eval()
    x = torch.randn(50, 5)
    assert torch.equal(layer(x), layer(x))
    torch.testing.assert_close(layer(x)[:7], layer(x[:7]))


def test_noise_sends_a_unit_to_experts_as_often_as_the_softmax_says() -> None:
    """The gate of one draw peaks at an expert with that expert's probability, whatever tau; without
    noise a sharp gate always peaks at the best, and the others learn nothing from the unit."""
    torch.manual_seed(0)
    x = torch.randn(1, 5).expand(20_000, 5)
    for tau in (0.1, 1.0):
        router = GumbelRouter(5, 4, tau, n_samples=0)
        chance = torch.softmax(router.score(x[:1])[0], 0)
        assert chance.max() < 0.8
        source = torch.Generator().manual_seed(1)
        drawn = router(RoutingInputs(x, clock=Clock(training=True), generator=source))
        peaks = drawn.weights().argmax(1).bincount(minlength=4) / 20_000
        torch.testing.assert_close(peaks, chance.detach(), atol=0.015, rtol=0)
        silent = router(RoutingInputs(x)).weights().argmax(1)
        assert len(silent.unique()) == 1


def test_the_mean_over_draws_is_smoother_than_the_gate_without_noise() -> None:
    """Averaged noise is a temperature: the probabilities of predictions are less extreme."""
    x = torch.randn(200, 5, generator=torch.Generator().manual_seed(0))
    torch.manual_seed(0)
    noisy, plain = GumbelRouter(5, 4), GumbelRouter(5, 4, n_samples=0)
    plain.score.load_state_dict(noisy.score.state_dict())
    with torch.no_grad():
        top = [r(RoutingInputs(x)).weights().max(1).values.mean() for r in (noisy, plain)]
    assert top[0] < top[1] - 0.01
