"""Routing by task and condition: Task-MoE (Kudugunta et al., 2021), conditional MoEs (Zhu et al.,
2022), task-aware gates (Gupta et al., 2022)."""

from __future__ import annotations

from functools import cache

import pytest
import torch
from torch import nn

from mixexp.neural import (
    Clock,
    ConditionalRouter,
    FeedForwardExperts,
    MoELayer,
    RoutingInputs,
    TaskRouter,
    TopKRouter,
)


def test_a_task_s_experts_alone_are_the_model_of_that_task() -> None:
    """All other experts hidden, or ruined, the outputs of the task keep every bit; token routing
    needs more experts than a task has."""
    torch.manual_seed(0)
    router, experts = TaskRouter(6, 16, 5), FeedForwardExperts(16, 6, 8)
    layer = MoELayer(router, experts).eval()
    x, task = torch.randn(200, 6), torch.full((200,), 3)
    full = layer(x, task_id=task)
    own = torch.zeros(16, dtype=torch.bool)
    own[router.experts_of(3)] = True
    assert own.sum() == 2
    with torch.no_grad():
        for parameter in experts.parameters():
            parameter[~own] = torch.nan
    assert torch.equal(layer(x, task_id=task), full)
    by_token = TopKRouter(6, 16, 2)(RoutingInputs(x))
    assert len(by_token.expert.unique()) > 8


def test_equal_attributes_mean_equal_experts_and_new_combinations_route() -> None:
    torch.manual_seed(0)
    router = ConditionalRouter(6, 8, "context", context_dim=8)
    seen = torch.randint(2, (40, 8)).float()
    routing = router(RoutingInputs(torch.randn(40, 6), context=seen))
    other = router(RoutingInputs(torch.randn(40, 6), context=seen))
    assert torch.equal(routing.weights(), other.weights())
    unseen = 1 - seen[:1]
    new = router(RoutingInputs(torch.randn(1, 6), context=unseen))
    assert new.n_pairs == 2


def _two_tasks(n, source):
    """Two tasks of opposite law on the same rows."""
    x = torch.randn(n, 6, generator=source)
    task = torch.randint(2, (n,), generator=source)
    law = torch.randn(6, 3, generator=torch.Generator().manual_seed(99))
    return x, task, (1 - 2.0 * task[:, None]) * torch.relu(x @ law)


def _error(make, seed=0, n_steps=100):
    torch.manual_seed(seed)
    source = torch.Generator().manual_seed(seed)
    layer = MoELayer(make(), FeedForwardExperts(4, 6, 16, out_dim=3))
    optimiser = torch.optim.Adam(layer.parameters(), lr=2e-2)
    for step in range(n_steps):
        x, task, y = _two_tasks(128, source)
        loss = nn.functional.mse_loss(layer(x, task_id=task, clock=Clock(step, n_steps, True)), y)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    x, task, y = _two_tasks(1_000, source)
    with torch.no_grad():
        return (nn.functional.mse_loss(layer.eval()(x, task_id=task), y) / y.var()).item()


@cache
def _by_token():
    return [_error(lambda: TopKRouter(6, 4, 2), seed) for seed in range(5)]


CONDITIONS = {
    "task": lambda: TaskRouter(6, 4, 2),
    "task and state": lambda: ConditionalRouter(6, 4, "task+token", n_tasks=2),
    "a gate a task": lambda: ConditionalRouter(6, 4, "task+token", n_tasks=2, per_task_gates=True),
}


@pytest.mark.slow
@pytest.mark.parametrize("condition", CONDITIONS)
def test_the_condition_removes_interference_of_tasks(condition) -> None:
    """Routing by state alone cannot serve two laws on the same rows; over five seeds."""
    conditioned = [_error(CONDITIONS[condition], seed) for seed in range(5)]
    by_token = _by_token()
    assert max(conditioned) < 0.1
    assert min(by_token) > 0.9
