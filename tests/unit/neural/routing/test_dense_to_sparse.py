"""The dense-to-sparse gate: schedule, limits, and the temperature of predictions."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch
from torch.testing import assert_close

from mixexp.neural import Clock, DenseToSparseRouter, MissingRoutingInputError, RoutingInputs


def _inputs(step=0, *, training=True, n=400, total=100) -> RoutingInputs:
    return RoutingInputs(
        torch.randn(n, 6, generator=torch.Generator().manual_seed(0)),
        clock=Clock(step, total, training),
        generator=torch.Generator().manual_seed(1),
    )


def _router(**options) -> DenseToSparseRouter:
    torch.manual_seed(0)
    return DenseToSparseRouter(6, 5, **options)


@pytest.mark.parametrize("anneal", ["linear", "exponential", "cosine"])
def test_the_temperature_falls_from_start_to_end(anneal) -> None:
    router = _router(tau_start=4.0, tau_end=0.25, anneal=anneal)
    taus = [router.scheduled(step / 10) for step in range(11)]
    assert taus[0] == pytest.approx(4.0)
    assert taus[-1] == pytest.approx(0.25)
    assert all(a > b for a, b in pairwise(taus))
    middle = {"linear": 2.125, "exponential": 1.0, "cosine": 2.125}[anneal]
    assert taus[5] == pytest.approx(middle)


def test_without_noise_and_threshold_it_is_the_dense_softmax_at_every_step() -> None:
    router = _router(noise=False, threshold=0.0)
    for step in (0, 50, 100):
        given = _inputs(step)
        tau = router.scheduled(step / 100)
        assert_close(router(given).weights(), torch.softmax(router.score(given.x) / tau, 1))


def test_extreme_temperatures_spread_and_choose() -> None:
    router = _router(tau_start=1e6, tau_end=1e-4, threshold=0.01)
    flat, sharp = router(_inputs(0)), router(_inputs(100))
    assert_close(flat.weights(), torch.full((400, 5), 0.2), atol=1e-4, rtol=0)
    assert sharp.n_pairs < 1.01 * 400
    assert sharp.weight.mean() > 0.99


def test_fewer_experts_as_the_temperature_falls() -> None:
    router = _router(threshold=0.05)
    sizes = [router(_inputs(step)).n_pairs / 400 for step in (0, 25, 50, 75, 100)]
    assert sizes == sorted(sizes, reverse=True)
    assert sizes[0] > 1.5 * sizes[-1]


def test_predictions_use_the_temperature_that_training_reached() -> None:
    router = _router(threshold=0.0)
    stats = router(_inputs(50)).stats
    router.update(stats, Clock(50, 100, True))
    given = _inputs(training=False)
    expected = torch.softmax(router.score(given.x) / router.scheduled(0.5), 1)
    assert_close(router(given).weights(), expected)


def test_weights_below_the_threshold_are_left_out_and_the_best_stays() -> None:
    raw, even = _router(threshold=0.4), _router(threshold=0.4, normalize="sum")
    for router in (raw, even):
        routing = router(_inputs(20))
        assert bool((torch.bincount(routing.unit, minlength=400) >= 1).all())
    kept = raw(_inputs(20))
    assert bool((kept.weight[kept.rank > 0] >= 0.4).all())
    assert kept.weight.min() < 0.4
    assert_close(even(_inputs(20)).weights().sum(1), torch.ones(400))


def test_training_without_a_length_is_an_error_by_name() -> None:
    with pytest.raises(MissingRoutingInputError, match="total_steps"):
        _router()(_inputs(total=None))
    with pytest.raises(MissingRoutingInputError, match="total_steps"):
        _router().update(_router()(_inputs()).stats)


@pytest.mark.parametrize(
    "options",
    [{"tau_start": 0.1}, {"tau_end": 0.0}, {"threshold": 1.0}, {"anneal": "step"}],
)
def test_impossible_settings_are_refused(options) -> None:
    with pytest.raises(ValueError, match=r"must be"):
        _router(**options)
