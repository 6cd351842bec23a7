"""SparseMixer (Liu et al., 2023): the error of the gradient of a sampled choice."""

from __future__ import annotations

import math

import pytest
import torch

from mixexp.neural import Clock, RoutingInputs, SparseMixerRouter
from mixexp.neural.routing import sparse_mixer


def _loss(y, target):
    return 0.5 * (y - target).square().sum(-1)


def _exact(scores, outputs, target):
    """Gradient of ``E_{D ~ p} L(p_D f_D)`` by enumeration."""
    scores = scores.clone().requires_grad_()
    p = torch.softmax(scores, 0)
    (p * _loss(p[:, None] * outputs, target)).sum().backward()
    return scores.grad


def _estimated(scores, outputs, target, n_draws=20_000):
    """Mean of the router's own gradient over many draws."""
    router = SparseMixerRouter(1, len(scores), jitter=math.inf).double()
    with torch.no_grad():
        router.score.weight.copy_(scores[:, None])
    given = RoutingInputs(
        torch.ones(n_draws, 1, dtype=torch.float64),
        clock=Clock(training=True),
        generator=torch.Generator().manual_seed(0),
    )
    routing = router(given)
    y = routing.weight[:, None] * outputs[routing.expert]
    (_loss(y, target).sum() / n_draws).backward()
    return router.score.weight.grad[:, 0]


def _median_error(n_experts, n_problems=25):
    errors = []
    for seed in range(n_problems):
        source = torch.Generator().manual_seed(seed)
        scores = torch.randn(n_experts, generator=source, dtype=torch.float64)
        outputs = torch.randn(n_experts, 4, generator=source, dtype=torch.float64)
        target = torch.randn(4, generator=source, dtype=torch.float64)
        exact = _exact(scores, outputs, target)
        found = _estimated(scores, outputs, target)
        errors.append((found - exact).norm() / exact.norm())
    return torch.stack(errors).median().item()


@pytest.mark.parametrize(("n_experts", "ratio"), [(4, 0.6), (8, 0.4)])
def test_the_gradient_of_the_choice_is_nearer_than_switch(n_experts, ratio, monkeypatch) -> None:
    """Switch keeps the gradient of the weight alone: full weight, no gain."""
    own = _median_error(n_experts)
    monkeypatch.setitem(sparse_mixer.RULES, 1, (1.0, 1.0, 1.0))
    assert own < ratio * _median_error(n_experts)
