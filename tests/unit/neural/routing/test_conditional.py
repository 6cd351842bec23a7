"""Routing by task, context and state."""

from __future__ import annotations

import pytest
import torch
from torch.testing import assert_close

from mixexp.neural import ConditionalRouter, RoutingInputs, TaskRouter


def _inputs(n=60, seed=0, **fields) -> RoutingInputs:
    source = torch.Generator().manual_seed(seed)
    given = {
        "task_id": torch.arange(n) % 3,
        "context": torch.randn(n, 2, generator=source),
    }
    return RoutingInputs(torch.randn(n, 6, generator=source), **(given | fields))


def _router(condition="task+token", **options) -> ConditionalRouter:
    torch.manual_seed(0)
    return ConditionalRouter(6, 5, condition, **({"n_tasks": 3, "context_dim": 2} | options))


def test_scores_are_the_sum_of_the_parts() -> None:
    given, router = _inputs(), _router("context+token+task")
    expected = (
        given.x @ router.score.weight.T
        + router.task_score[given.task_id]
        + given.context @ router.context_score.weight.T
    )
    assert_close(router(given).logits, expected)


@pytest.mark.parametrize(
    ("condition", "needs"), [("task", {"task_id"}), ("context", {"context"}), ("token", set())]
)
def test_only_the_condition_matters(condition, needs) -> None:
    router = _router(condition)
    assert router.needs == needs
    given, other = _inputs(seed=0), _inputs(seed=1)
    used = {"task": "task_id", "context": "context", "token": "x"}[condition]
    same = other.replace(**{used: getattr(given, used)})
    assert torch.equal(router(given).weights(), router(same).weights())
    changed = given.replace(**{used: getattr(other, used).flip(0)})
    assert not torch.equal(router(given).weights(), router(changed).weights())


def test_a_gate_per_task_is_that_task_s_matrix() -> None:
    given, router = _inputs(), _router(per_task_gates=True)
    gates = router.score.weight.view(3, 5, 6)
    expected = torch.einsum("td,ted->te", given.x, gates[given.task_id])
    assert_close(router(given).logits, expected + router.task_score[given.task_id])


@pytest.mark.parametrize("like", [None, 1])
def test_a_new_task_leaves_the_gates_of_others(like) -> None:
    given, router = _inputs(), _router(per_task_gates=True)
    before = router(given).weights()
    new = router.add_task(like)
    assert new == 3
    assert torch.equal(before, router(given).weights())
    moved = router(given.replace(task_id=torch.full((60,), new))).weights()
    copied = router(given.replace(task_id=torch.full((60,), 1))).weights()
    assert torch.equal(moved, copied) == (like == 1)


def test_a_task_router_sends_a_task_to_its_experts() -> None:
    torch.manual_seed(0)
    router = TaskRouter(6, 5, 3, 2)
    routing = router(_inputs())
    for task in range(3):
        experts = router.experts_of(task)
        assert torch.equal(experts, router.task_score[task].topk(2).indices)
        units = routing.unit % 3 == task
        assert set(routing.expert[units].tolist()) == set(experts.tolist())


def test_normalised_weights_sum_to_one() -> None:
    assert_close(_router(normalize="sum")(_inputs()).weights().sum(1), torch.ones(60))


def test_ids_and_contexts_that_do_not_fit_are_named() -> None:
    with pytest.raises(ValueError, match="task_id from 0 to 2; got 0 to 9"):
        _router()(_inputs(2, task_id=torch.tensor([0, 9])))
    with pytest.raises(ValueError, match=r"context of shape \(units, 2\); got \(60, 4\)"):
        _router("context")(_inputs(context=torch.zeros(60, 4)))
    with pytest.raises(ValueError, match="from 0 to 2; got 3"):
        _router().add_task(like=3)
    with pytest.raises(ValueError, match="no tasks"):
        _router("token").add_task()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"condition": "task+task"}, "different ones"),
        ({"condition": "weather"}, "different ones"),
        ({"n_tasks": None}, "needs n_tasks"),
        ({"condition": "context", "context_dim": 0}, "needs context_dim"),
        ({"condition": "task", "per_task_gates": True}, "per_task_gates needs"),
        ({"k": 1, "normalize": "sum"}, "always one"),
        ({"k": 6}, "k must be"),
    ],
)
def test_impossible_settings_are_refused(options, message) -> None:
    with pytest.raises(ValueError, match=message):
        _router(**options)
