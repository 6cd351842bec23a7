"""Laws of the losses: values at balance and collapse, gradients, scopes, padding, groups."""

from __future__ import annotations

import math

import pytest
import torch
from torch.testing import assert_close

from mixexp.neural import (
    AdaptiveLossCoefficient,
    RoutingInputs,
    RoutingStats,
    TopKRouter,
    consistency_loss,
    importance_loss,
    load_balancing_loss,
    load_loss,
    mutual_information_loss,
    parameter_penalty_loss,
    router_entropy_loss,
    router_z_loss,
    selection_entropy_loss,
    supervised_routing_loss,
)

N_EXPERTS = 4
OF_STATS = {
    "balance": load_balancing_loss,
    "groups": lambda stats: load_balancing_loss(stats, groups=[0, 0, 1, 1]),
    "sequence": lambda stats: load_balancing_loss(stats, "sequence"),
    "importance": importance_loss,
    "z": router_z_loss,
    "entropy": router_entropy_loss,
    "selection": selection_entropy_loss,
    "information": mutual_information_loss,
    "penalty": lambda stats: parameter_penalty_loss(stats, [1.0, 2.0, 3.0, 4.0]),
}
every_loss = pytest.mark.parametrize("loss", OF_STATS.values(), ids=list(OF_STATS))


def stats_of(logits, k=1, **fields) -> RoutingStats:
    """Statistics of a top-k router with these scores."""
    n_experts = logits.shape[1]
    router = TopKRouter(n_experts, n_experts, k=k).double()
    with torch.no_grad():
        router.score.weight.copy_(torch.eye(n_experts))
    return router(RoutingInputs(logits.double(), **fields)).stats


def surely(*experts, scale=200.0):
    """Scores of units that are sure of their experts."""
    return scale * torch.eye(N_EXPERTS, dtype=torch.float64)[list(experts)]


@pytest.fixture
def logits():
    return torch.randn(30, N_EXPERTS, generator=torch.Generator().manual_seed(0)).double()


@pytest.mark.parametrize(
    ("loss", "balanced", "collapsed"),
    [
        ("balance", 1, N_EXPERTS),
        ("groups", 1, 2),
        ("importance", 0, N_EXPERTS - 1),
        ("selection", -math.log(N_EXPERTS), 0),
        ("information", -math.log(N_EXPERTS), 0),
        ("entropy", 0, 0),
    ],
)
def test_values_at_balance_and_collapse(loss, balanced, collapsed) -> None:
    loss = OF_STATS[loss]
    assert_close(loss(stats_of(surely(0, 1, 2, 3))).item(), float(balanced))
    assert_close(loss(stats_of(surely(2, 2, 2, 2))).item(), float(collapsed))


def test_equal_scores_are_balanced_for_every_normalised_loss() -> None:
    stats = stats_of(torch.zeros(8, N_EXPERTS))
    assert_close(load_balancing_loss(stats).item(), 1.0)
    assert_close(router_entropy_loss(stats).item(), math.log(N_EXPERTS))
    assert_close(mutual_information_loss(stats).item(), 0.0)
    assert_close(router_z_loss(stats).item(), math.log(N_EXPERTS) ** 2)


@every_loss
@pytest.mark.parametrize("k", [1, 2])
def test_gradients_with_counts_held_fixed(loss, k, logits) -> None:
    """Finite differences of the loss whose counts are constants."""
    segment = torch.arange(3).repeat_interleave(10)
    fixed = stats_of(logits, k, segment=segment)

    def at(x):
        moved = stats_of(x, k, segment=segment)
        return loss(moved.replace(counts=fixed.counts, segment_counts=fixed.segment_counts))

    assert torch.autograd.gradcheck(at, (logits.clone().requires_grad_(),), fast_mode=True)


@pytest.mark.parametrize("loss", ["balance", "groups", "sequence", "penalty"])
def test_shares_of_choices_carry_no_gradient(loss, logits) -> None:
    """Also where a router has counts that would, as estimates of them do."""
    segment = torch.arange(3).repeat_interleave(10)
    stats = stats_of(logits, segment=segment)
    soft = [t.clone().requires_grad_() for t in (stats.counts, stats.segment_counts)]
    value = OF_STATS[loss](stats.replace(counts=soft[0], segment_counts=soft[1]))
    assert torch.autograd.grad(value, soft, allow_unused=True) == (None, None)
    coefficient = AdaptiveLossCoefficient(capacity_factor=1.0)
    assert not coefficient.drop_rate(stats.replace(counts=soft[0])).requires_grad


@every_loss
def test_padding_counts_for_nothing(loss, logits) -> None:
    segment = torch.arange(3).repeat_interleave(10)
    valid = torch.arange(30) % 10 < 7
    padded = logits.clone()
    padded[~valid] = 50.0
    kept = stats_of(logits[valid], 2, segment=segment[valid])
    assert_close(loss(stats_of(padded, 2, segment=segment, valid=valid)), loss(kept))


@every_loss
def test_no_units_is_no_loss(loss, logits) -> None:
    segment = torch.arange(3).repeat_interleave(10)
    x = logits.clone().requires_grad_()
    stats = stats_of(x, segment=segment, valid=torch.zeros(30, dtype=torch.bool))
    value = loss(stats)
    assert value.item() == 0
    assert torch.isfinite(torch.autograd.grad(value, x, allow_unused=True)[0]).all()


def test_accumulated_micro_batches_equal_the_whole(logits) -> None:
    whole = stats_of(logits, 2)
    parts = stats_of(logits[:7], 2).merge(stats_of(logits[7:], 2))
    for name, loss in OF_STATS.items():
        if name != "sequence":
            assert_close(loss(parts), loss(whole))


def test_mean_of_micro_losses_is_another_loss() -> None:
    """Pure micro-batches of a specialised router: worst one by one, perfect together."""
    micro = [stats_of(surely(e, e, e)) for e in range(N_EXPERTS)]
    whole = micro[0]
    for stats in micro[1:]:
        whole = whole.merge(stats)
    assert [load_balancing_loss(stats).item() for stats in micro] == [N_EXPERTS] * N_EXPERTS
    assert_close(load_balancing_loss(whole, scope="global").item(), 1.0)


def test_sequence_scope_is_the_mean_over_sequences_by_units(logits) -> None:
    segment = torch.tensor([5] * 4 + [2] * 26)
    each = [load_balancing_loss(stats_of(logits[segment == s])) for s in (5, 2)]
    whole = load_balancing_loss(stats_of(logits, segment=segment), scope="sequence")
    assert_close(whole, (4 * each[0] + 26 * each[1]) / 30)


def test_concatenated_layers_hide_what_layers_show() -> None:
    """Opposite imbalances cancel in losses that pool the layers, as some libraries form them."""
    first, second = surely(0, 0, 1, 1), surely(2, 2, 3, 3)
    pooled = torch.cat([first, second])
    share = torch.nn.functional.one_hot(pooled.argmax(1), N_EXPERTS).double().mean(0)
    concatenated = N_EXPERTS * (share * torch.softmax(pooled, 1).mean(0)).sum()
    ours = [load_balancing_loss(stats_of(scores)) for scores in (first, second)]
    assert_close(concatenated.item(), 1.0)
    assert_close([loss.item() for loss in ours], [2.0, 2.0])


def test_groups_balance_groups_and_leave_their_members_alone(logits) -> None:
    pairs = [0, 0, 1, 1]
    within = stats_of(surely(0, 0, 2, 2))
    assert load_balancing_loss(within) > 1.9
    assert_close(load_balancing_loss(within, groups=pairs).item(), 1.0)
    stats = stats_of(logits)
    single = load_balancing_loss(stats, groups=range(N_EXPERTS))
    assert_close(single, load_balancing_loss(stats))
    assert_close(load_balancing_loss(stats, groups=[0] * N_EXPERTS).item(), 1.0)
    uneven = load_balancing_loss(stats_of(surely(0, 1, 2, 3)), groups=[0, 0, 0, 1])
    assert_close(uneven.item(), 1.0)
    with pytest.raises(ValueError, match="each of 4 experts"):
        load_balancing_loss(stats, groups=[0, 1])


def test_importance_is_of_weights_not_counts() -> None:
    few, many = 3 * torch.eye(2)[[0]], 0.1 * torch.eye(2)[[1, 1, 1]]
    stats = stats_of(torch.cat([few, many]))
    weights = stats.weight_sum
    assert_close(importance_loss(stats), weights.var(unbiased=False) / weights.mean() ** 2)


def test_load_loss_needs_a_smooth_load(logits) -> None:
    stats = stats_of(logits)
    with pytest.raises(ValueError, match="load_sum"):
        load_loss(stats)
    load = torch.tensor([1.0, 3.0, 1.0, 3.0], dtype=torch.float64)
    assert_close(load_loss(stats.replace(load_sum=load)).item(), 0.25)


def test_parameter_penalty_prefers_cheap_experts(logits) -> None:
    stats = stats_of(logits)
    assert_close(parameter_penalty_loss(stats, [7.0] * N_EXPERTS), load_balancing_loss(stats))
    cost = [1.0, 2.0, 3.0, 4.0]
    cheap, dear = (parameter_penalty_loss(stats_of(surely(e)), cost) for e in (0, 3))
    assert_close(dear / cheap, torch.tensor(4.0).double())
    for wrong in ([1.0, 2.0], [1.0, 2.0, 3.0, -1.0]):
        with pytest.raises(ValueError, match="one positive number"):
            parameter_penalty_loss(stats, wrong)


@pytest.mark.parametrize("name", ["balance", "z", "entropy", "selection", "penalty"])
def test_a_router_without_probabilities_is_named(name, logits) -> None:
    bare = stats_of(logits).replace(prob_sum=None, entropy_sum=None, z_sum=None)
    with pytest.raises(ValueError, match="router"):
        OF_STATS[name](bare)


def test_unknown_scopes_and_missing_segments_are_named(logits) -> None:
    with pytest.raises(ValueError, match="scope must be one of"):
        load_balancing_loss(stats_of(logits), scope="batch")
    with pytest.raises(ValueError, match="segment"):
        load_balancing_loss(stats_of(logits), scope="sequence")


def test_supervised_routing_is_cross_entropy_over_known_units(logits) -> None:
    router = TopKRouter(N_EXPERTS, N_EXPERTS, k=2).double()
    expert = torch.arange(30) % N_EXPERTS
    expert[3] = -1
    valid = torch.arange(30) < 20
    routing = router(RoutingInputs(logits, valid=valid))
    known = valid & (expert >= 0)
    expected = torch.nn.functional.cross_entropy(routing.logits[known], expert[known])
    assert_close(supervised_routing_loss(routing, expert, valid=valid), expected)
    none = supervised_routing_loss(routing, torch.full((30,), -1))
    assert none.item() == 0
    with pytest.raises(ValueError, match="0 to 3; got 9"):
        supervised_routing_loss(routing, torch.full((30,), 9))
    visible = torch.tensor([True, True, True, False])
    with pytest.raises(ValueError, match="hidden"):
        supervised_routing_loss(router(RoutingInputs(logits, visible=visible)), expert)


def test_supervised_routing_teaches_the_router(logits) -> None:
    torch.manual_seed(0)
    router = TopKRouter(N_EXPERTS, N_EXPERTS, k=1).double()
    expert = (logits @ torch.randn(N_EXPERTS, N_EXPERTS).double()).argmax(1)
    optimizer = torch.optim.Adam(router.parameters(), 0.1)
    for _ in range(150):
        optimizer.zero_grad()
        supervised_routing_loss(router(RoutingInputs(logits)), expert).backward()
        optimizer.step()
    routing = router(RoutingInputs(logits))
    assert (routing.expert[routing.units_order()] == expert).double().mean() > 0.9


def test_consistency_is_the_symmetric_divergence(logits) -> None:
    other = logits.flip(0)
    p, q = torch.softmax(logits, 1), torch.softmax(other, 1)
    each = ((p * (p / q).log()).sum(1) + (q * (q / p).log()).sum(1)) / 2
    valid = torch.arange(30) < 11
    assert_close(consistency_loss(logits, other), each.mean())
    padded = torch.where(valid[:, None], logits, torch.nan)
    assert_close(consistency_loss(padded, other, valid=valid), each[:11].mean())
    assert consistency_loss(logits, logits).item() == 0
    assert_close(consistency_loss(logits, other), consistency_loss(other, logits))
    assert_close(consistency_loss(logits, logits + 3).item(), 0.0)
    with pytest.raises(ValueError, match="same rows"):
        consistency_loss(logits, other[:3])


def _dropping(share: float) -> RoutingStats:
    stats = stats_of(torch.zeros(10, N_EXPERTS))
    return stats.replace(n_dropped=torch.tensor(10 * share).double())


def test_adaptive_coefficient_follows_the_drop_rate() -> None:
    coefficient = AdaptiveLossCoefficient(ratio=0.2, maximum=0.1, decay=0.9, initial=0.0)
    stats = _dropping(0.3)
    coefficient.update(stats)
    assert_close(coefficient.coefficient.item(), 0.1 * 0.06)
    for _ in range(200):
        coefficient.update(stats)
    assert_close(coefficient.coefficient.item(), 0.06)
    for _ in range(200):
        coefficient.update(_dropping(0.9))
        assert 0 <= coefficient.coefficient <= 0.1
    assert_close(coefficient.coefficient.item(), 0.1)
    loss = torch.tensor(2.0, requires_grad=True)
    coefficient(loss).backward()
    assert_close(loss.grad.item(), 0.1)


def test_adaptive_coefficient_without_a_limit_takes_what_one_would_drop() -> None:
    coefficient = AdaptiveLossCoefficient(capacity_factor=1.5)
    assert_close(coefficient.drop_rate(stats_of(surely(0, 0, 0, 1))).item(), 1.5 / 4)
    assert coefficient.drop_rate(stats_of(surely(0, 1, 2, 3))) == 0


def test_adaptive_coefficient_is_saved_and_stays_in_float32() -> None:
    coefficient = AdaptiveLossCoefficient().to(torch.bfloat16)
    assert coefficient.coefficient.dtype == torch.float32
    coefficient.update(_dropping(0.0))
    other = AdaptiveLossCoefficient()
    other.load_state_dict(coefficient.state_dict())
    assert_close(other.coefficient, coefficient.coefficient)
    assert other.coefficient < 0.01
    for wrong in ({"decay": 1.0}, {"maximum": 0.0}, {"capacity_factor": 0.0}):
        with pytest.raises(ValueError):
            AdaptiveLossCoefficient(**wrong)
