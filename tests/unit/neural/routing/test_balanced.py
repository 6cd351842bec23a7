"""Balanced assignments: marginals of transport plans, limits and stability of matchings."""

from __future__ import annotations

import pytest
import torch
from torch.testing import assert_close

from mixexp.neural.routing.balanced import order_of, sinkhorn, stable_assignment


def _scores(n=40, n_experts=5, scale=1.0, seed=0):
    source = torch.Generator().manual_seed(seed)
    return scale * torch.randn(n, n_experts, generator=source, dtype=torch.float64)


def test_marginals_are_uniform() -> None:
    plan = sinkhorn(_scores() + torch.arange(5))
    assert_close(plan.sum(1), torch.ones(40, dtype=torch.float64))
    assert_close(plan.sum(0), torch.full((5,), 8.0, dtype=torch.float64), atol=0, rtol=1e-3)


def test_logarithms_give_the_plain_iteration_and_never_overflow() -> None:
    scores = _scores()
    plain = torch.exp(2.0 * scores)
    for _ in range(500):
        plain = plain / plain.sum(1, keepdim=True)
        plain = plain / plain.sum(0) * 8
    assert_close(sinkhorn(scores, tol=1e-12, n_iter=500), plain, rtol=1e-6, atol=1e-9)
    assert torch.isfinite(sinkhorn(1e4 * scores)).all()


def test_hidden_experts_get_nothing_and_the_others_share() -> None:
    scores = _scores()
    scores[:, 2] = -torch.inf
    scores[:20, 0] = -torch.inf
    plan = sinkhorn(scores)
    assert bool((plan[scores == -torch.inf] == 0).all())
    assert_close(plan.sum(0)[[0, 1, 3, 4]], torch.full((4,), 10.0).double(), atol=0, rtol=1e-3)


def _popular(n=40, seed=1):
    """Preferences under which all experts want the same units."""
    source = torch.Generator().manual_seed(seed)
    popular = 2 * torch.randn(n, 1, generator=source, dtype=torch.float64)
    return torch.sigmoid(_scores(n) + popular)


@pytest.mark.parametrize("cap", [1, 2, 3])
def test_matching_holds_both_limits_and_fills_what_it_can(cap) -> None:
    preference = _popular()
    chosen = stable_assignment(preference, torch.full((5,), 8 * cap - 1), cap)
    assert chosen.sum(1).max() == cap
    assert chosen.sum(0).tolist() == [8 * cap - 1] * 5
    tight = stable_assignment(preference, torch.full((5,), 8 * cap), cap)
    assert tight.sum(1).max() == cap
    # an empty place: the expert has every unit that is not full
    open_units = tight.sum(1) < cap
    for expert in (tight.sum(0) < 8 * cap).nonzero().flatten():
        assert tight[open_units, expert].all()


def test_matching_without_a_binding_limit_is_the_choice_of_each_expert() -> None:
    preference = torch.softmax(_scores(), 1)
    chosen = stable_assignment(preference, torch.full((5,), 7), 5)
    assert torch.equal(chosen, order_of(preference, 0) < 7)


def test_nobody_would_rather_have_another() -> None:
    preference = torch.softmax(_scores(), 1)
    size = torch.full((5,), 10)
    chosen = stable_assignment(preference, size, 1)
    worst = torch.where(chosen, preference, torch.inf)
    for unit, expert in (~chosen).nonzero():
        wanted = preference[unit, expert]
        wanted_by_expert = chosen[:, expert].sum() < 10 or wanted > worst[:, expert].min()
        wanted_by_unit = chosen[unit].sum() < 1 or wanted > worst[unit].min()
        assert not (wanted_by_expert and wanted_by_unit)
