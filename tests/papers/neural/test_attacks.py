"""Published attacks on mixtures that let rows of a batch compete: they work there, and not on ours.

Buffer overflow: Hayes, Shumailov and Yona, "Buffer overflow in mixture of experts", 2024.
Prompt stealing: Yona et al., "Stealing user prompts from mixture of experts", 2024.
"""

from __future__ import annotations

from functools import cache

import pytest
import torch
from torch import nn

from mixexp.neural import (
    CapacityLimiter,
    ExpertChoiceRouter,
    FeedForwardExperts,
    MoELayer,
    TopKRouter,
    audit_batch_dependence,
)

DIM, N_EXPERTS, N_TOKENS, LENGTH = 12, 4, 16, 4


def dyadic(x):
    """Multiples of 1/64: sums of their products are exact in any order, so equal rows tie."""
    return torch.round(64 * x) / 64


class Served(nn.Module):
    """A causal model behind an endpoint: the state of a token is a function of its prefix."""

    def __init__(self, limiter=None, expert_choice=None):
        super().__init__()
        torch.manual_seed(0)
        router = TopKRouter(DIM, N_EXPERTS, 1)
        if expert_choice is not None:
            router = ExpertChoiceRouter(DIM, N_EXPERTS, 0.5, scope=expert_choice)
        experts = FeedForwardExperts(N_EXPERTS, DIM, 16)
        self.moe = MoELayer(router, experts, residual=True, limiter=limiter)
        self.embedding = nn.Parameter(torch.randn(N_TOKENS, DIM))
        self.head = nn.Linear(DIM, N_TOKENS)
        with torch.no_grad():
            router.score.weight.copy_(dyadic(2 * router.score.weight))
        self.eval()

    def states(self, tokens):
        """What the mixture gets, (rows, LENGTH, DIM)."""
        state, states = torch.zeros(len(tokens), DIM), []
        for token in tokens.T:
            state = dyadic(torch.tanh(1.2 * state.roll(1, 1) + self.embedding.detach()[token]))
            states.append(state)
        return torch.stack(states, 1)

    def forward(self, tokens):
        return self.head(self.moe(self.states(tokens)))

    def claims(self, tokens):
        """How much each token wants each expert, (rows, LENGTH, E): known without the others."""
        inputs = self.moe.inputs(self.states(tokens))
        routing = self.moe.router(inputs)
        chooses = isinstance(self.moe.router, ExpertChoiceRouter)
        wants = routing.probs if chooses else routing.weights()
        return wants.detach().view(*tokens.shape, N_EXPERTS)


@cache
def trained() -> dict:
    """Experts and head of a model that has learned what follows a pair of tokens."""
    model = Served()
    source = torch.Generator().manual_seed(2)
    follows = torch.randint(N_TOKENS, (N_TOKENS, N_TOKENS), generator=source)
    optimizer = torch.optim.Adam([*model.moe.experts.parameters(), *model.head.parameters()], 0.02)
    for _ in range(200):
        tokens = torch.randint(N_TOKENS, (64, LENGTH), generator=source)
        logits = model(tokens)[:, 1:]
        target = follows[tokens[:, :-1], tokens[:, 1:]]
        optimizer.zero_grad()
        nn.functional.cross_entropy(logits.flatten(0, 1), target.flatten()).backward()
        optimizer.step()
    return model.state_dict()


def served(name: str) -> Served:
    by_weight = {"policy": "probability", "training_only": False}
    model = {
        "capacity": lambda: Served(CapacityLimiter(1.0, training_only=False)),
        "priority": lambda: Served(CapacityLimiter(0.5, **by_weight)),
        "expert choice": lambda: Served(expert_choice="batch"),
        "default": lambda: Served(),
        "in training": lambda: Served(CapacityLimiter(0.5, policy="probability")),
        "sequence": lambda: Served(CapacityLimiter(0.5, scope="sequence", **by_weight)),
        "expert choice by sequence": lambda: Served(expert_choice="sequence"),
    }[name]()
    model.load_state_dict(trained())
    return model.requires_grad_(False)


SAFE = ["default", "in training", "sequence", "expert choice by sequence"]


def overflow(model: Served, victim: torch.Tensor, n_rows: int = 11) -> tuple[float, bool]:
    """Largest change of the victim's last answer, and whether its first prediction flips.

    The attacker sends rows of one repeated token before the victim's row, and tries every token.
    """
    source = torch.Generator().manual_seed(5)
    benign = torch.randint(N_TOKENS, (n_rows, LENGTH), generator=source)
    usual = model(torch.cat([victim[None], benign]))[0, -1]
    found = []
    for token in range(N_TOKENS):
        flood = torch.full((n_rows, LENGTH), token)
        answer = model(torch.cat([flood, victim[None]]))[-1, -1]
        found.append((float((answer - usual).abs().max()), bool(answer.argmax() != usual.argmax())))
    return max(change for change, _ in found), any(flip for _, flip in found)


def victims(n: int) -> torch.Tensor:
    return torch.randint(N_TOKENS, (n, LENGTH), generator=torch.Generator().manual_seed(3))


def test_buffer_overflow_changes_answers_behind_a_capacity() -> None:
    found = [overflow(served("capacity"), victim) for victim in victims(10)]
    assert sum(flip for _, flip in found) >= 2  # a fifth of the predictions
    for name in ("capacity", "priority", "expert choice"):
        assert audit_batch_dependence(served(name), victims(10)).dependent


@pytest.mark.parametrize("name", SAFE)
def test_buffer_overflow_changes_nothing_by_default(name) -> None:
    found = [overflow(served(name), victim) for victim in victims(10)]
    assert not any(flip for _, flip in found)
    assert max(change for change, _ in found) < 1e-5
    assert not audit_batch_dependence(served(name), victims(10)).dependent


class Thief:
    """An attacker who shares a batch with a victim, knows the model, and sees its own rows alone.

    For every guess of the next token a probe row repeats the known prefix and the guess. Other
    rows fill the buffer of the probe's expert with better tokens until one place is left. If the
    guess is right the victim's token ties with the probe's, the order of rows decides who gets
    the place, and the probe's own answer depends on that order.
    """

    def __init__(self, model: Served, victim: torch.Tensor, n_rows: int = 10):
        self.model, self.victim, self.n_rows = model, victim, n_rows
        source = torch.Generator().manual_seed(9)
        self.pool = torch.randint(N_TOKENS, (600, LENGTH), generator=source)
        self.pool_claims = model.claims(self.pool)
        self.draw = torch.Generator().manual_seed(11)
        self.n_signals = self.n_queries = 0

    def answer(self, rows, probe_first: bool, probe) -> torch.Tensor:
        """The probe's answers: all that the attacker sees of a query."""
        pair = [probe, self.victim] if probe_first else [self.victim, probe]
        self.n_queries += 1
        return self.model(torch.cat([torch.stack(pair), rows]))[0 if probe_first else 1]

    def reveals(self, prefix: list[int], guess: int) -> bool:
        """Whether for some filling of the buffer the probe's answer depends on the order."""
        place = len(prefix)
        probe = torch.tensor([*prefix, guess] + [0] * (LENGTH - place - 1))
        wants = self.model.claims(probe[None])[0]
        expert = wants[place].argmax()
        n_better = (self.pool_claims[..., expert] > wants[place, expert]).sum(1)
        fill, idle = self.pool[n_better == 1], self.pool[n_better == 0]
        own = int((wants[:, expert] > wants[place, expert]).sum())
        capacity = -(-(self.n_rows + 2) * LENGTH // (2 * N_EXPERTS))
        # how many of the victim's tokens are better is not known: all numbers are tried
        for n_fill in range(capacity - 1 - own, capacity - 2 - own - LENGTH, -1):
            if not 0 <= n_fill <= min(len(fill), self.n_rows) or len(idle) < self.n_rows:
                continue
            rows = torch.cat([fill[:n_fill], idle[: self.n_rows - n_fill]])
            first, second = (self.answer(rows, order, probe)[place] for order in (True, False))
            if float((first - second).abs().max()) > 1e-4:
                return True
        return False

    def steal(self) -> list[int]:
        """The victim's tokens, one after the other; a random one where nothing is revealed."""
        known: list[int] = []
        for _ in range(LENGTH):
            found = next((g for g in range(N_TOKENS) if self.reveals(known, g)), None)
            self.n_signals += found is not None
            random = int(torch.randint(N_TOKENS, (), generator=self.draw))
            known.append(random if found is None else found)
        return known


@pytest.mark.parametrize("name", ["priority", "expert choice"])
def test_ties_over_the_batch_give_the_prompt_away(name) -> None:
    """Nearly all tokens, where chance is one in sixteen, within the published number of queries."""
    right = 0
    for victim in victims(3):
        thief = Thief(served(name), victim)
        right += sum(a == b for a, b in zip(thief.steal(), victim.tolist()))
        assert thief.n_queries <= 2 * N_TOKENS * LENGTH * (LENGTH + 1)
    assert right >= 0.95 * 3 * LENGTH


@pytest.mark.parametrize("name", SAFE)
def test_ties_give_nothing_away_by_default(name) -> None:
    """Not one query out of all tells the attacker anything."""
    thief = Thief(served(name), victims(1)[0])
    thief.steal()
    assert thief.n_queries > 100
    assert thief.n_signals == 0
