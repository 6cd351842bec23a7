"""Routing without a learned gate: THOR (Zuo et al., 2022), hash layers and word experts."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from mixexp.neural import (
    Clock,
    FeedForwardExperts,
    ModuleExperts,
    MoELayer,
    RandomRouter,
    TokenIdRouter,
    TopKRouter,
)


def _symmetric_kl(a, b):
    return 0.5 * ((a.exp() - b.exp()) * (a - b)).sum(1).mean()


def _trained(alpha, seed, n_steps=120):
    """How much the experts of a classifier disagree on fresh rows after random routing.

    ``alpha`` is the weight of the consistency of two passes.
    """
    torch.manual_seed(seed)
    source = torch.Generator().manual_seed(seed)
    law = torch.randn(6, 3, generator=torch.Generator().manual_seed(99))
    layer = MoELayer(RandomRouter(6, 4), FeedForwardExperts(4, 6, 16, out_dim=3))
    optimiser = torch.optim.Adam(layer.parameters(), lr=1e-2)

    def batch(n):
        x = torch.randn(n, 6, generator=source)
        return x, torch.distributions.Categorical(logits=torch.tanh(x) @ law).sample()

    for step in range(n_steps):
        x, y = batch(64)
        clock = Clock(step, n_steps, True)
        first, second = (layer(x, clock=clock, generator=source).log_softmax(1) for _ in range(2))
        loss = nn.functional.nll_loss(first, y) + nn.functional.nll_loss(second, y)
        optimiser.zero_grad()
        (loss + alpha * _symmetric_kl(first, second)).backward()
        optimiser.step()
    with torch.no_grad():
        each = layer.experts.every(batch(2_000)[0]).log_softmax(2)
    return (_symmetric_kl(each[0], each[1]) + _symmetric_kl(each[2], each[3])).item()


def test_consistency_makes_stochastic_experts_agree() -> None:
    """THOR: without the consistency of two passes the experts go apart."""
    assert _trained(5.0, seed=0) < 0.5 * _trained(0.0, seed=0)


def test_the_mean_over_experts_is_the_expert_of_mean_parameters_where_experts_are_linear() -> None:
    torch.manual_seed(0)
    each = [nn.Linear(6, 6) for _ in range(4)]
    merged = nn.Linear(6, 6)
    with torch.no_grad():
        for name in ("weight", "bias"):
            mean = torch.stack([getattr(expert, name) for expert in each]).mean(0)
            getattr(merged, name).copy_(mean)
    x = torch.randn(20, 6)
    layer = MoELayer(RandomRouter(6, 4, inference="all"), ModuleExperts(each, 6)).eval()
    assert_close(layer(x), merged(x))


def test_only_the_experts_of_the_ids_learn_and_equal_ids_go_alike() -> None:
    """Word experts: a learned router sends equal ids in other contexts elsewhere."""
    torch.manual_seed(0)
    router = TokenIdRouter(6, 8, n_tokens=40)
    layer = MoELayer(router, FeedForwardExperts(8, 6, 4))
    ids = torch.randint(3, (50,))
    layer(torch.randn(50, 6), token_id=ids).sum().backward()
    used = router.table[ids, 0].unique()
    learned = torch.stack([p.grad.reshape(8, -1).abs().sum(1) for p in layer.parameters()]).sum(0)
    assert set(learned.nonzero().squeeze(1).tolist()) == set(used.tolist())
    learned_gate = MoELayer(TopKRouter(6, 8, 1), layer.experts)
    routing = learned_gate.route(learned_gate.inputs(torch.randn(50, 6), token_id=ids))
    assert len(routing.expert.unique()) > len(used)


@pytest.mark.slow
def test_word_experts_recall_facts_that_a_learned_gate_forgets() -> None:
    """Each of 400 ids has a value of its own, and a random state. A table of ids gives every expert
    the facts of ten ids; experts of top-1 routing by state have more to hold, and some have most.
    """
    accuracy = {"table": [], "learned": []}
    for seed in range(5):
        source = torch.Generator().manual_seed(seed)
        facts = torch.randint(4, (400,), generator=source)
        states = torch.randn(400, 12, generator=source)
        for name, found in accuracy.items():
            torch.manual_seed(seed)
            router = (
                TokenIdRouter(12, 40, n_tokens=400) if name == "table" else TopKRouter(12, 40, 1)
            )
            layer = MoELayer(router, FeedForwardExperts(40, 12, 8, out_dim=4))
            optimiser = torch.optim.Adam(layer.parameters(), lr=1e-2)
            for step in range(100):
                ids = torch.randint(400, (256,), generator=source)
                clock = Clock(step, 100, True)
                y = layer(states[ids], token_id=ids, clock=clock)
                loss = nn.functional.cross_entropy(y, facts[ids])
                optimiser.zero_grad()
                loss.backward()
                optimiser.step()
            with torch.no_grad():
                y = layer.eval()(states, token_id=torch.arange(400))
            found.append((y.argmax(1) == facts).float().mean().item())
    assert all(a > b for a, b in zip(*accuracy.values(), strict=True))
    assert sum(accuracy["table"]) > sum(accuracy["learned"]) + 5 * 0.03
