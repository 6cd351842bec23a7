"""Claims about routers around routers: pinned tasks, broadcast units, distilled tables, masks."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from mixexp.neural import (
    BroadcastUncertain,
    Clock,
    DistilledRouter,
    FeedForwardExperts,
    MaskedRouter,
    MoELayer,
    PinnedRouter,
    RoutingTrace,
    SwitchRouter,
    TokenIdRouter,
    TopKRouter,
    load_balancing_loss,
    visible_by_frequency,
)

from .claims import Domains, first_choices, wins

SEEDS = range(5)


def pinned(task_expert, seed, n_steps=250):
    """Share of rows whose task's expert is among the two chosen without ids, and the damage.

    The damage is the loss of each task when each expert is taken away, (tasks, experts).
    """
    domains = Domains(seed=seed)
    source = torch.Generator().manual_seed(seed)
    torch.manual_seed(seed)
    base = TopKRouter(8, 4, 2, order="select_then_activate")
    layer = MoELayer(PinnedRouter(base, task_expert), FeedForwardExperts(4, 8, 16))
    optimizer = torch.optim.Adam(layer.parameters(), 0.01)
    for step in range(n_steps):
        x, y, task = domains.draw(32, source)
        answer = layer(x, task_id=task, clock=Clock(step, n_steps, True))
        optimizer.zero_grad()
        nn.functional.mse_loss(answer, y).backward()
        optimizer.step()
    x, y, task = domains.draw(300, torch.Generator().manual_seed(77))
    with torch.no_grad():
        routing = layer.router(layer.inputs(x, clock=Clock()))
        full = (layer(x, clock=Clock()) - y).square().mean(1)
        damage = []
        for e in range(4):
            left = torch.arange(4) != e
            without = (layer(x, visible=left, clock=Clock()) - y).square().mean(1)
            damage.append([float((without - full)[task == t].mean()) for t in range(4)])
    own = routing.weights()[torch.arange(len(x)), task] > 0
    return float(own.float().mean()), torch.tensor(damage).T


@pytest.mark.slow
def test_pinned_experts_are_found_without_ids_and_missed_by_their_task() -> None:
    """NeKo (Lin et al., 2024): trained with the task's expert, served without tasks."""
    found = {own: [pinned(own, seed) for seed in SEEDS] for own in ((0, 1, 2, 3), (-1,) * 4)}
    told, free = found.values()
    assert min(share for share, _ in told) > 0.8
    missed = [
        [float((damage.argmax(1) == torch.arange(4)).float().mean()) for _, damage in runs]
        for runs in (told, free)
    ]
    assert sum(missed[0]) / len(SEEDS) >= 0.75
    assert wins([a - b for a, b in zip(*missed)])


def sensitivity(threshold, seed, n_steps=150):
    """How much worse uncertain rows get when another expert answers, after fine-tuning."""
    domains = Domains(gap=1.2, seed=seed)
    source = torch.Generator().manual_seed(seed)
    torch.manual_seed(seed)
    base, experts = TopKRouter(8, 4, 1), FeedForwardExperts(4, 8, 16)
    for router, n in ((base, 250), (BroadcastUncertain(base, threshold), n_steps)):
        layer = MoELayer(router, experts)
        optimizer = torch.optim.Adam(layer.parameters(), 0.005)
        for step in range(n):
            x, y, _ = domains.draw(32, source)
            trace = RoutingTrace()
            answer = layer(x, trace=trace, clock=Clock(step, n, True))
            loss = nn.functional.mse_loss(answer, y) + 0.02 * load_balancing_loss(trace.stats[0])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    x, y, _ = domains.draw(500, torch.Generator().manual_seed(77))
    with torch.no_grad():
        routing = base(layer.inputs(x))
        own = first_choices(routing)
        weight = routing.probs.max(1).values[:, None]
        each = (weight * experts.every(x) - y).square().mean(-1)
        entropy = torch.special.entr(routing.probs).sum(1)
        uncertain = entropy >= entropy.quantile(0.8)
        right = each.gather(0, own[None])[0]
        others = (each.sum(0) - right) / 3
    return float((others - right)[uncertain].mean())


@pytest.mark.slow
def test_broadcast_makes_the_choice_matter_less_for_uncertain_rows() -> None:
    """GW-MoE (Wu et al., 2024): against the same fine-tuning without broadcast."""
    usual = torch.tensor([sensitivity(math.inf, seed) for seed in SEEDS])
    broadcast = torch.tensor([sensitivity(0.8, seed) for seed in SEEDS])
    assert wins(usual - broadcast)


class Words(nn.Module):
    """Embedded tokens into one mixture layer: what is known of a token changes as it is learned."""

    def __init__(self, router, n_tokens, dim=8):
        super().__init__()
        self.embedding = nn.Embedding(n_tokens, dim)
        self.moe = MoELayer(router, FeedForwardExperts(router.n_experts, dim, 8), residual=True)
        self.head = nn.Linear(dim, 6)

    def forward(self, tokens, noise, trace=None, **context):
        state = self.embedding(tokens) + noise
        return self.head(self.moe(state, token_id=tokens, trace=trace, **context))


N_WORDS = 60
KINDS = ("switch", "hash", "masked")


def fluctuation(distil, seed, n_steps=200, switch=100):
    """Share of tokens that change expert in the last fifth of a training; agreement at the switch.

    Agreement is how often the student chooses as the teacher does.
    """
    torch.manual_seed(seed)
    source = torch.Generator().manual_seed(seed)
    router = TopKRouter(8, 4, 1, score="sigmoid")
    if distil:
        router = DistilledRouter(router, n_tokens=N_WORDS, switch_step=switch, keep="scale")
    model = Words(router, N_WORDS)
    follows = torch.randint(6, (N_WORDS,), generator=source)
    optimizer = torch.optim.Adam(model.parameters(), 0.02)
    every, still = torch.arange(N_WORDS), torch.zeros(N_WORDS, 8)
    agreement, before = 0.0, None
    for step in range(n_steps):
        clock = Clock(step, n_steps, True)
        if distil and step == switch:
            with torch.no_grad():
                inputs = model.moe.inputs(model.embedding(every), token_id=every)
                agreed = router.student(inputs).argmax(1) == first_choices(router.base(inputs))
                agreement = float(agreed.float().mean())
        if step == n_steps * 4 // 5:
            before = chosen_by(model, every, still, clock)
        tokens = torch.randint(N_WORDS, (64,), generator=source)
        trace = RoutingTrace()
        logits = model(tokens, 0.3 * torch.randn(64, 8, generator=source), trace, clock=clock)
        loss = nn.functional.cross_entropy(logits, follows[tokens])
        loss = loss + 0.3 * load_balancing_loss(trace.stats[0])
        optimizer.zero_grad()
        (loss + sum(trace.losses.values())).backward()
        optimizer.step()
    after = chosen_by(model, every, still, Clock(n_steps, n_steps))
    return float((before != after).float().mean()), agreement


def chosen_by(model, tokens, noise, clock):
    """Experts of tokens."""
    trace = RoutingTrace()
    with torch.no_grad():
        model(tokens, noise, trace, clock=clock)
    return first_choices(trace[0])


def test_after_the_switch_no_token_changes_its_expert() -> None:
    """StableMoE (Dai et al., 2022), whose student has learned nearly all of the teacher by then."""
    changed, agreement = fluctuation(True, 0, n_steps=130)
    assert changed == 0
    assert agreement >= 0.9


@pytest.mark.slow
def test_no_token_changes_its_expert_over_seeds() -> None:
    """StableMoE (Dai et al., 2022): under the learned router alone tokens go on changing."""
    stable, usual = ([fluctuation(distil, seed) for seed in SEEDS] for distil in (True, False))
    assert [changed for changed, _ in stable] == [0.0] * 5
    assert min(agreement for _, agreement in stable) >= 0.9
    assert wins([changed for changed, _ in usual])


def zipf(kind, seed, n_tokens=120, n_steps=400):
    """Errors on rare tokens and on all, weighted by frequency, of a router by name."""
    source = torch.Generator().manual_seed(seed)
    frequency = 1 / torch.arange(1, n_tokens + 1).float()
    seen = 3000 * frequency / frequency.sum()
    torch.manual_seed(seed)
    switch = SwitchRouter(8, 4, jitter=0.0)
    router = {
        "switch": lambda: switch,
        "hash": lambda: TokenIdRouter(8, 4, n_tokens=n_tokens, seed=seed),
        "masked": lambda: MaskedRouter(switch, visible_by_frequency(seen, n_frequent=4), seed=seed),
    }[kind]()
    model = Words(router, n_tokens)
    # a frequent word means different things in different contexts, a rare one always the same
    meaning = torch.randint(6, (n_tokens, 4), generator=source)
    rare = torch.arange(n_tokens) >= round(0.6 * n_tokens)
    meaning[rare] = meaning[rare, :1].expand(-1, 4)
    contexts = 2.0 * torch.randn(4, 8, generator=source)

    def batch(tokens):
        context = torch.randint(4, (len(tokens),), generator=source)
        noise = 0.3 * torch.randn(len(tokens), 8, generator=source)
        return tokens, contexts[context] + noise, meaning[tokens, context]

    optimizer = torch.optim.Adam(model.parameters(), 0.01)
    for step in range(n_steps):
        tokens = torch.multinomial(frequency, 64, True, generator=source)
        tokens, noise, target = batch(tokens)
        trace = RoutingTrace()
        logits = model(tokens, noise, trace, clock=Clock(step, n_steps, True))
        loss = nn.functional.cross_entropy(logits, target)
        if trace.stats[0].prob_sum is not None:
            loss = loss + 0.02 * load_balancing_loss(trace.stats[0])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    tokens, noise, target = batch(torch.arange(n_tokens).repeat(40))
    with torch.no_grad():
        each = nn.functional.cross_entropy(model(tokens, noise), target, reduction="none")
    weight = frequency[tokens]
    return float(each[rare[tokens]].mean()), float((each * weight).sum() / weight.sum())


@pytest.mark.slow
def test_masks_help_rare_tokens() -> None:
    """MaskMoE (Su et al., 2024): rare tokens, and all, are learned better than by its base.

    The published gain over a hash table on all tokens does not show at this scale: the table is
    ahead by about eight per cent, since its experts read contexts from the states as well.
    """
    found = {kind: torch.tensor([zipf(kind, seed) for seed in SEEDS]) for kind in KINDS}
    assert wins(found["switch"][:, 0] - found["masked"][:, 0])
    assert wins(found["switch"][:, 1] - found["masked"][:, 1])
    assert float((found["masked"][:, 1] / found["hash"][:, 1]).mean()) < 1.15
