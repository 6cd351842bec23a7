"""Routers around routers: neutral settings are the base, and each wrapper's own law."""

from __future__ import annotations

import math

import pytest
import torch
from torch.testing import assert_close

from mixexp.neural import (
    BroadcastUncertain,
    Clock,
    DistilledRouter,
    FeedForwardExperts,
    MaskedRouter,
    MissingRoutingInputError,
    MoELayer,
    PinnedRouter,
    Router,
    RouterFlags,
    Routing,
    RoutingInputs,
    TopKRouter,
    visible_by_frequency,
)
from mixexp.neural.routing import from_choices

DIM, N_EXPERTS, N_UNITS, N_TOKENS, N_TASKS = 6, 5, 60, 20, 3
CHOSEN = ("unit", "slot", "weight", "rank", "logits", "probs")


def base(k=2, **arguments) -> TopKRouter:
    torch.manual_seed(0)
    return TopKRouter(DIM, N_EXPERTS, k, **arguments)


def given(training=True, step=0, seed=1, **changes) -> RoutingInputs:
    source = torch.Generator().manual_seed(seed)
    fields = {
        "x": torch.randn(N_UNITS, DIM, generator=source),
        "token_id": torch.randint(N_TOKENS, (N_UNITS,), generator=source),
        "task_id": torch.randint(N_TASKS, (N_UNITS,), generator=source),
        "segment": torch.arange(6).repeat_interleave(10),
        "clock": Clock(step=step, training=training),
    }
    return RoutingInputs(**(fields | changes))


def chosen(routing: Routing) -> torch.Tensor:
    mask = torch.zeros(routing.n_units, routing.n_experts, dtype=torch.bool)
    mask[routing.unit, routing.expert] = True
    return mask


NEUTRAL = {
    "masked": lambda base: MaskedRouter(base, [N_EXPERTS] * N_TOKENS),
    "pinned": lambda base: PinnedRouter(base, [-1] * N_TASKS),
    "broadcast": lambda base: BroadcastUncertain(base, math.inf),
    "distilled": lambda base: DistilledRouter(base, n_tokens=N_TOKENS, switch_step=10),
}
AT_PREDICTION = {
    "pinned": lambda base: PinnedRouter(base, [0, 1, 2]),
    "broadcast": lambda base: BroadcastUncertain(base, 0.0),
}


@pytest.mark.parametrize("order", ["activate_then_select", "select_then_activate"])
@pytest.mark.parametrize("training", [True, False], ids=["train", "eval"])
@pytest.mark.parametrize("name", NEUTRAL)
def test_neutral_settings_are_the_base_bit_for_bit(name, training, order) -> None:
    plain = base(order=order)
    wrapped = NEUTRAL[name](plain)
    first, second = plain(given(training)), wrapped(given(training))
    for field in CHOSEN:
        assert torch.equal(getattr(first, field), getattr(second, field)), field
    for field, value in vars(first.stats).items():
        assert value is None or torch.equal(value, getattr(second.stats, field)), field


@pytest.mark.parametrize("name", AT_PREDICTION)
def test_prediction_is_the_base_bit_for_bit(name) -> None:
    plain = base()
    first, second = plain(given(False)), AT_PREDICTION[name](plain)(given(False, task_id=None))
    for field in CHOSEN:
        assert torch.equal(getattr(first, field), getattr(second, field)), field


class Hash(Router):
    """A router without scores."""

    def flags(self, training):
        return RouterFlags(trainable=False)

    def route(self, inputs):
        expert = (inputs.token_id % self.n_experts)[:, None]
        return from_choices(inputs, self.n_experts, expert, torch.ones(expert.shape))


@pytest.mark.parametrize(
    "wrapped",
    [
        lambda base: PinnedRouter(base, [0, 1, 2]),
        lambda base: BroadcastUncertain(base, 1.0),
        lambda base: DistilledRouter(base, "linear", switch_step=0),
    ],
    ids=["pinned", "broadcast", "distilled"],
)
def test_a_base_without_probabilities_is_named(wrapped) -> None:
    with pytest.raises(ValueError, match="this base has none. Wrap a router with scores"):
        wrapped(Hash(DIM, N_EXPERTS))(given())


def test_one_visible_expert_is_a_hash_table_without_gradient() -> None:
    router = MaskedRouter(base(1), [1] * N_TOKENS, seed=3)
    inputs = given()
    routing = router(inputs)
    assert torch.equal(routing.expert[routing.units_order()], router.order[inputs.token_id, 0])
    (gradient,) = torch.autograd.grad(routing.weight.square().sum(), router.base.score.weight)
    assert not gradient.any()


def test_masks_are_drawn_once_and_saved() -> None:
    first, same, other = (MaskedRouter(base(), [2] * N_TOKENS, seed=s) for s in (4, 4, 5))
    assert torch.equal(first.order, same.order) and not torch.equal(first.order, other.order)
    other.load_state_dict(first.state_dict())
    assert torch.equal(first.visible(given()), other.visible(given()))
    assert bool((first.visible(given()).sum(1) == 2).all())
    assert bool((first.order.sort(1).values == torch.arange(N_EXPERTS)).all())


def test_hidden_experts_are_replaced_by_the_next_of_the_list() -> None:
    router = MaskedRouter(base(1), [2] * N_TOKENS)
    hidden = torch.tensor([False, True, True, True, False])
    sight = router.visible(given(visible=hidden))
    assert bool((sight.sum(1) == 2).all()) and not sight[:, ~hidden].any()
    only = torch.tensor([False, False, True, False, False])
    assert bool((router(given(visible=only)).expert == 2).all())


def test_visible_by_frequency_and_wrong_numbers() -> None:
    sizes = visible_by_frequency([9, 1, 5, 7, 2], rare_fraction=0.4, n_frequent=4)
    assert sizes.tolist() == [4, 1, 4, 4, 1]
    for wrong in ([0, 1], [6], [[1]]):
        with pytest.raises(ValueError, match="from 1 to 5 for each token"):
            MaskedRouter(base(), wrong)
    with pytest.raises(ValueError, match="token_id from 0 to 4"):
        MaskedRouter(base(), [1] * 5)(given())
    padded = given(valid=torch.arange(N_UNITS) > 0)
    padded.token_id[0] = -100
    MaskedRouter(base(), [1] * N_TOKENS)(padded)
    with pytest.raises(ValueError, match="rare_fraction"):
        visible_by_frequency([1, 2], rare_fraction=2.0, n_frequent=4)


@pytest.mark.parametrize("k", [1, 2, 3])
def test_the_pinned_expert_replaces_the_last_choice(k) -> None:
    plain = base(k)
    inputs = given()
    pinned = torch.tensor([3, -1, 0])[inputs.task_id]
    before, after = plain(inputs), PinnedRouter(plain, [3, -1, 0])(inputs)
    old, new = chosen(before), chosen(after)
    assert bool((new.sum(1) == k).all())
    for t in range(N_UNITS):
        best_first = before.probs[t].argsort(descending=True)[:k].tolist()
        expert = int(pinned[t])
        if expert >= 0 and expert not in best_first:
            best_first[-1] = expert
        assert new[t].nonzero()[:, 0].tolist() == sorted(best_first)
    same = (old == new).all(1)
    assert torch.equal(after.weights()[same], before.weights()[same])
    assert 0 < int(same.sum()) < N_UNITS
    assert_close(after.stats.counts, new.sum(0).float())


def test_pinned_weights_follow_the_rule_of_the_base() -> None:
    inputs = given()
    renormalised = PinnedRouter(base(order="select_then_activate"), [3, 1, 0])(inputs)
    assert_close(renormalised.weights().sum(1), torch.ones(N_UNITS))
    on = chosen(renormalised)
    expected = torch.softmax(renormalised.logits.masked_fill(~on, -torch.inf), 1)
    assert_close(renormalised.weights(), expected)
    raw = PinnedRouter(base(), [3, 1, 0], keep="scale")(inputs)
    assert_close(raw.weights(), torch.where(chosen(raw), raw.probs, 0.0))
    sigmoid = PinnedRouter(base(score="sigmoid"), [3, 1, 0], keep="scale")(inputs)
    expected = torch.where(chosen(sigmoid), torch.sigmoid(sigmoid.logits), 0.0)
    assert_close(sigmoid.weights(), expected)


def test_pinning_refuses_what_it_cannot_do() -> None:
    with pytest.raises(ValueError, match="from 0 to 4, or -1"):
        PinnedRouter(base(), [5])
    with pytest.raises(ValueError, match="keep must be one of"):
        PinnedRouter(base(), [0], keep="raw")
    with pytest.raises(MissingRoutingInputError, match="task_id"):
        PinnedRouter(base(), [0, 1, 2])(given(task_id=None))
    with pytest.raises(ValueError, match="task_id from 0 to 1"):
        PinnedRouter(base(), [0, 1])(given())
    hidden = torch.tensor([True, True, True, False, True])
    routing = PinnedRouter(base(), [3, 3, 3])(given(visible=hidden))
    assert not chosen(routing)[:, 3].any()


def test_broadcast_units_see_all_experts_and_the_others_their_own() -> None:
    plain = base(order="select_then_activate")
    before, after = plain(given()), BroadcastUncertain(plain, 1.3)(given())
    uncertain = torch.special.entr(before.probs).sum(1) >= 1.3
    assert 0 < int(uncertain.sum()) < N_UNITS
    assert bool((chosen(after).sum(1) == torch.where(uncertain, N_EXPERTS, 2)).all())
    assert_close(after.weights()[uncertain], before.probs[uncertain])
    assert torch.equal(after.weights()[~uncertain], before.weights()[~uncertain])
    assert_close(BroadcastUncertain(plain, 0.0)(given()).weights(), before.probs)


def test_broadcast_units_reach_every_expert() -> None:
    """The gradient of one broadcast unit is on all experts' weights."""
    experts = FeedForwardExperts(N_EXPERTS, DIM, 4)
    inputs = given().take(torch.arange(N_UNITS) < 1)
    for threshold, reached in ((0.0, N_EXPERTS), (math.inf, 2)):
        experts.zero_grad()
        layer = MoELayer(BroadcastUncertain(base(), threshold), experts)
        layer.combine(inputs.x, layer.route(inputs)).sum().backward()
        touched = experts.w1.grad.flatten(1).any(1)
        assert int(touched.sum()) == reached


def test_broadcast_is_limited_to_the_most_uncertain_of_each_segment() -> None:
    inputs = given(valid=torch.arange(N_UNITS) % 10 != 4)
    router = BroadcastUncertain(base(), 0.0, max_per_segment=3)
    routing = router(inputs)
    entropy = torch.special.entr(routing.probs).sum(1).masked_fill(~inputs.valid, -1)
    every = chosen(routing).all(1)
    for s in range(6):
        here = inputs.segment == s
        best = entropy[here].topk(3).indices.sort().values
        assert torch.equal(every[here].nonzero()[:, 0], best)
    with pytest.raises(MissingRoutingInputError, match="segment"):
        router(given(segment=None))
    for wrong in ({"threshold": math.nan}, {"threshold": 0.0, "max_per_segment": 0}):
        with pytest.raises(ValueError):
            BroadcastUncertain(base(), **wrong)


def test_the_student_learns_the_teacher_and_only_the_student_learns() -> None:
    router = DistilledRouter(base(), "linear", switch_step=1000)
    inputs = given()
    loss = router(inputs).losses["distillation"]
    names = [name for name, _ in router.named_parameters()]
    grads = torch.autograd.grad(loss, list(router.parameters()), allow_unused=True)
    reached = {name for name, g in zip(names, grads) if g is not None and g.any()}
    assert reached == {"student.score.weight"}
    x = inputs.x.clone().requires_grad_()
    loss = router(inputs.replace(x=x)).losses["distillation"]
    assert torch.autograd.grad(loss, x, allow_unused=True)[0] is None
    optimizer = torch.optim.Adam(router.parameters(), 0.05)
    for _ in range(150):
        optimizer.zero_grad()
        router(inputs).losses["distillation"].backward()
        optimizer.step()
    routing = router(inputs)
    first = routing.expert[routing.rank == 0][routing.unit[routing.rank == 0].argsort()]
    assert (router.student(inputs).argmax(1) == first).float().mean() > 0.9
    assert "distillation" not in router(given(False)).losses


def test_after_the_switch_the_student_routes_and_stays() -> None:
    """Choices are a function of the token, whatever the states; the weights are the teacher's."""
    torch.manual_seed(0)
    router = DistilledRouter(base(), n_tokens=N_TOKENS, switch_step=10, keep="scale")
    inputs = given(step=10)
    routing = router(inputs)
    order = router.student(inputs).argsort(1, descending=True)[:, :2]
    assert torch.equal(chosen(routing).nonzero()[:, 1].view(-1, 2), order.sort(1).values)
    assert_close(routing.weights(), torch.where(chosen(routing), routing.probs, 0.0))
    assert not routing.losses
    moved = router(inputs.replace(x=torch.randn(N_UNITS, DIM)))
    assert torch.equal(chosen(moved), chosen(routing))
    found = torch.autograd.grad(
        routing.weight.sum(), list(router.student.parameters()), allow_unused=True
    )
    assert found == (None, None)


def test_the_switch_is_remembered_and_saved() -> None:
    torch.manual_seed(0)
    router = DistilledRouter(base(), n_tokens=N_TOKENS, switch_step=10)
    stats = router(given()).stats
    router.update(stats, Clock(step=9, training=True))
    before = chosen(router(given(False)))
    assert torch.equal(before, chosen(base()(given(False))))
    router.update(stats, Clock(step=10, training=True))
    after = chosen(router(given(False)))
    assert not torch.equal(before, after)
    other = DistilledRouter(base(), n_tokens=N_TOKENS, switch_step=10)
    other.load_state_dict(router.state_dict())
    assert torch.equal(after, chosen(other(given(False))))


def test_identity_gets_what_is_missing_of_one() -> None:
    router = DistilledRouter(
        base(1, score="sigmoid"), "linear", switch_step=5, keep="scale", identity=True
    )
    for step in (0, 5):
        routing = router(given(step=step))
        a = torch.where(chosen(routing), torch.sigmoid(routing.logits), 0.0).sum(1)
        assert_close(routing.weights().sum(1), a)
        assert_close(routing.residual, 1 - a)


def test_students_by_name_or_module() -> None:
    with pytest.raises(ValueError, match="n_tokens"):
        DistilledRouter(base(), switch_step=1)
    with pytest.raises(ValueError, match="student must be"):
        DistilledRouter(base(), "cnn", switch_step=1)

    class ByTask(torch.nn.Module):
        needs = frozenset({"task_id"})

        def forward(self, inputs):
            return torch.nn.functional.one_hot(inputs.task_id, N_EXPERTS).float()

    router = DistilledRouter(base(1), ByTask(), switch_step=0)
    inputs = given()
    routing = router(inputs)
    assert torch.equal(routing.expert[routing.units_order()], inputs.task_id)
    with pytest.raises(MissingRoutingInputError, match="task_id"):
        router(given(task_id=None))


def test_update_reaches_the_base() -> None:
    balanced = base(score="sigmoid", normalize="sum", bias_balance=0.1)
    router = MaskedRouter(BroadcastUncertain(balanced, math.inf), [N_EXPERTS] * N_TOKENS)
    router.update(router(given()).stats)
    assert balanced.selection_bias.any()
