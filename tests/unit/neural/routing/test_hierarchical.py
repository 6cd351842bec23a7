"""Two-level routing: probabilities, choices at both levels, uneven groups."""

from __future__ import annotations

import pytest
import torch
from torch.testing import assert_close

from mixexp.neural import HierarchicalRouter, RoutingInputs, SwitchRouter, load_balancing_loss


def _inputs(**fields) -> RoutingInputs:
    return RoutingInputs(torch.randn(40, 6, generator=torch.Generator().manual_seed(0)), **fields)


@pytest.mark.parametrize("shared", [False, True])
@pytest.mark.parametrize(("k_groups", "k_local"), [(1, 1), (2, 1), (2, 3)])
def test_choices_are_the_best_at_both_levels(shared, k_groups, k_local) -> None:
    torch.manual_seed(0)
    router = HierarchicalRouter(6, 12, 3, k_groups=k_groups, k_local=k_local, shared_local=shared)
    given = _inputs()
    p = torch.softmax(router.group_score(given.x), 1)
    local = router.local_score(given.x)
    q = torch.softmax(local[:, None].expand(40, 3, 4) if shared else local.view(40, 3, 4), 2)
    wanted = torch.zeros(40, 12)
    for t in range(40):
        for i in p[t].topk(k_groups).indices.tolist():
            for j in q[t, i].topk(k_local).indices.tolist():
                wanted[t, 4 * i + j] = (p[t, i] * q[t, i, j]).detach()
    routing = router(given)
    assert_close(routing.weights(), wanted)
    assert_close(routing.probs.sum(1), torch.ones(40))
    assert_close(torch.softmax(routing.logits, 1), routing.probs)


def test_one_group_is_the_switch() -> None:
    torch.manual_seed(0)
    router, switch = HierarchicalRouter(6, 5, 1), SwitchRouter(6, 5)
    switch.score.load_state_dict(router.local_score.state_dict())
    assert_close(router(_inputs()).weights(), switch(_inputs()).weights())


def test_the_last_group_may_be_smaller_and_hidden_groups_are_passed_over() -> None:
    torch.manual_seed(0)
    router = HierarchicalRouter(6, 5, 2, k_local=3)
    routing = router(_inputs())
    sizes = torch.bincount(routing.unit, minlength=40)
    group = routing.probs[:, :3].sum(1) < 0.5
    assert torch.equal(sizes, torch.where(group, 2, 3))
    hidden = router(_inputs(visible=torch.tensor([False, False, False, True, True])))
    assert hidden.counts.tolist() == [0, 0, 0, 40, 40]
    assert_close(hidden.probs.sum(1), torch.ones(40))
    hidden.logits[:, 3:].sum().backward()
    assert all(torch.isfinite(p.grad).all() for p in router.parameters() if p.grad is not None)
    assert router.group_of_expert.tolist() == [0, 0, 0, 1, 1]
    assert router.place_in_group.tolist() == [0, 1, 2, 0, 1]
    both = HierarchicalRouter(6, 5, 2, k_groups=2, k_local=3)
    assert bool((torch.bincount(both(_inputs()).unit) == 5).all())
    assert not both.flags(False).variable_k


def test_both_levels_have_a_balance_loss_of_one_at_balance() -> None:
    router = HierarchicalRouter(6, 12, 3, k_groups=3, k_local=4)
    with torch.no_grad():
        router.group_score.weight.zero_()
        router.local_score.weight.zero_()
    stats = router(_inputs()).stats
    for groups in (router.group_of_expert, router.place_in_group):
        assert_close(load_balancing_loss(stats, groups=groups), torch.ones(()))


@pytest.mark.parametrize(
    "options", [{"n_groups": 13}, {"n_groups": 7}, {"k_groups": 9}, {"k_local": 9}]
)
def test_impossible_settings_are_refused(options) -> None:
    with pytest.raises(ValueError, match="must be|take that number"):
        HierarchicalRouter(6, 12, **options)
