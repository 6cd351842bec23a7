"""ReLU routing: its penalty, and the controller that steers the number of experts."""

from __future__ import annotations

import pytest
import torch
from torch.testing import assert_close

from mixexp.neural import ReLURouter, RoutingInputs


def _inputs(n=40, dim=6) -> RoutingInputs:
    return RoutingInputs(torch.randn(n, dim, generator=torch.Generator().manual_seed(1)))


def _router(n_experts=5, k=2, **options) -> ReLURouter:
    torch.manual_seed(0)
    return ReLURouter(6, n_experts, k, **options)


def test_weights_are_positive_scores_and_a_unit_may_have_none() -> None:
    router, given = _router(n_experts=3), _inputs(400)
    routing = router(given)
    assert_close(routing.weights(), torch.relu(router.score(given.x)))
    assert torch.bincount(routing.unit, minlength=400).min() == 0


def test_the_penalty_is_the_published_sum() -> None:
    router, given = _router(initial=0.5), _inputs()
    routing = router(given)
    gate = torch.relu(router.score(given.x))
    frequency = 5 / (2 * 40) * (gate > 0).sum(0)
    assert_close(routing.losses["sparsity"], 0.5 * (frequency * gate).sum() / 40)
    plain = _router(initial=0.5, balance=False)(given)
    assert_close(plain.losses["sparsity"], 0.5 * gate.sum() / 40)


def test_equal_frequencies_of_k_in_all_make_it_the_plain_norm() -> None:
    weight = torch.tensor([[1.0, -1], [-1, 1]])
    given = RoutingInputs(torch.tensor([[1.0, 0], [0, 2], [3, 0], [0, 4]]))
    losses = []
    for balance in (True, False):
        router = ReLURouter(2, 2, 1, initial=1.0, balance=balance, bias=False)
        with torch.no_grad():
            router.score.weight.copy_(weight)
        losses.append(router(given).losses["sparsity"])
    assert_close(losses[0], losses[1])
    assert_close(losses[1], torch.tensor(10.0 / 4))


@pytest.mark.parametrize(("k", "factor"), [(1, 1.5), (4, 1 / 1.5)], ids=["dense", "sparse"])
def test_update_moves_the_coefficient_by_one_factor(k, factor) -> None:
    router = _router(k=k, alpha=1.5, initial=1e-3)
    router.update(router(_inputs()).stats)
    assert_close(router.coefficient, torch.tensor(1e-3 * factor))


def test_update_stands_still_on_target_and_without_units() -> None:
    router = _router(n_experts=1, k=1)
    stats = router(_inputs(0)).stats
    router.update(stats)
    router.update(stats.replace(n_units=torch.tensor(3.0), counts=torch.tensor([3.0])))
    assert_close(router.coefficient, torch.tensor(1e-8))


def test_the_coefficient_never_underflows() -> None:
    router = _router(k=5, alpha=10.0)
    stats = router(_inputs()).stats
    for _ in range(100):
        router.update(stats)
    assert router.coefficient == 1e-12
    router.update(stats.replace(counts=stats.counts * 100))
    assert_close(router.coefficient, torch.tensor(1e-11))


def test_merged_layers_have_one_coefficient() -> None:
    """Steered by the mean over layers, all of them move alike."""
    layers = [_router(k=k) for k in (2, 2)]
    with torch.no_grad():
        layers[1].score.weight *= -1
    merged = layers[0](_inputs()).stats.merge(layers[1](_inputs()).stats)
    for router in layers:
        router.update(merged)
    assert torch.equal(layers[0].coefficient, layers[1].coefficient)


def test_impossible_settings_are_refused() -> None:
    with pytest.raises(ValueError, match="k must be"):
        ReLURouter(6, 4, 5)
    with pytest.raises(ValueError, match="alpha"):
        ReLURouter(6, 4, alpha=1.0)
