"""DSelect-k (Hazimeh et al., 2021): smooth in training, exactly sparse at convergence."""

from __future__ import annotations

import torch
from torch.testing import assert_close

from mixexp.neural import DSelectKRouter, FeedForwardExperts, MoELayer, RoutingInputs, TopKRouter
from mixexp.neural.routing.dselect_k import code_probabilities
from mixexp.neural.routing.smooth_step import smooth_step


def _largest_jumps(router, n_steps):
    """Largest changes of a layer's output, and of its slope, between neighbours on lines."""
    torch.manual_seed(1)
    layer = MoELayer(router, FeedForwardExperts(8, 4, 8)).double()
    source = torch.Generator().manual_seed(2)
    place = torch.linspace(0, 1, n_steps, dtype=torch.float64, requires_grad=True)
    jumps = []
    for _ in range(20):
        start, end = 2 * torch.randn(2, 4, generator=source, dtype=torch.float64)
        y = layer(start + place[:, None] * (end - start)).sum(1)
        (slope,) = torch.autograd.grad(y.sum(), place)
        jumps.append([y.diff().abs().max().item(), slope.diff().abs().max().item()])
    return [max(column) for column in zip(*jumps)]


def test_outputs_and_gradients_are_continuous_where_top_k_jumps() -> None:
    """Jumps shrink with the steps, also across the edges where weights become exactly zero."""
    torch.manual_seed(0)
    smooth, top_k = DSelectKRouter(4, 8, 2, init_std=1.0), TopKRouter(4, 8, 2)
    x = 2 * torch.randn(500, 4)
    assert 0.2 < (smooth(RoutingInputs(x)).weights() == 0).float().mean() < 0.8
    for fine, coarse in zip(_largest_jumps(smooth, 4_001), _largest_jumps(smooth, 401)):
        assert fine < 0.2 * coarse
    for fine, coarse in zip(_largest_jumps(top_k, 4_001), _largest_jumps(top_k, 401)):
        assert fine > 0.5 * coarse


def _mass_after_training(code_mass):
    """Mass on the six experts of 64 selectors that are pressed to one code each, seeds at once."""
    torch.manual_seed(0)
    router = DSelectKRouter(1, 6, 64, conditioned=False)
    optimiser = torch.optim.Adam(router.parameters(), lr=0.02)
    for _ in range(150):
        losses = router(RoutingInputs(torch.zeros(1, 1))).losses
        optimiser.zero_grad()
        (losses["entropy"] + code_mass * losses["code_mass"]).backward()
        optimiser.step()
    codes = code_probabilities(smooth_step(router.code.detach(), router.gamma))
    assert (codes.max(1).values > 1 - 1e-6).all()
    return codes[:, :6].sum(1)


def test_codes_without_an_expert_are_left() -> None:
    """With six experts the entropy alone sends selectors to codes 6 and 7, whose weight is lost."""
    assert (_mass_after_training(1.0) > 1 - 1e-6).all()
    assert (_mass_after_training(0.0) < 1e-6).sum() > 3


def _trained(coefficient, k=2, n_steps=200):
    """Mean number of experts of a unit after a regression with the entropy, and its error."""
    torch.manual_seed(1)
    layer = MoELayer(DSelectKRouter(3, 8, k), FeedForwardExperts(8, 3, 4, activation="relu"))
    x = torch.randn(128, 3)
    y = torch.where(x[:, :1] > 0, x.flip(1), -2 * x)
    optimiser = torch.optim.Adam(layer.parameters(), lr=0.03)
    for step in range(n_steps):
        routing = layer.route(layer.inputs(x))
        loss = (layer.combine(x, routing) - y).square().mean()
        optimiser.zero_grad()
        (loss + coefficient * step / n_steps * routing.losses["entropy"]).backward()
        optimiser.step()
    weights = routing.weights().detach()
    assert_close(weights.sum(1), torch.ones(128))
    return (weights > 0).sum(1).float().mean(), loss.item()


def test_the_entropy_leads_to_at_most_k_experts() -> None:
    sparse, error = _trained(2.0)
    assert sparse < 2.7
    assert error < 0.15  # a tenth of the variance of the targets
    assert _trained(0.0)[0] > 4
