"""SparseMixer: what is drawn, and the gradient that each version gives."""

from __future__ import annotations

import math

import pytest
import torch
from scipy.stats import chisquare
from torch.testing import assert_close

from mixexp.neural import Clock, RoutingInputs, SparseMixerRouter
from mixexp.neural.routing.sparse_mixer import RULES, SampledWeight, candidates


def _router(logits, k=1, **options) -> SparseMixerRouter:
    """A router whose scores are ``logits`` for the input 1."""
    router = SparseMixerRouter(1, len(logits), k, **options)
    with torch.no_grad():
        router.score.weight.copy_(torch.tensor(logits)[:, None])
    return router


def _drawn(router, n=20_000, seed=0):
    source = torch.Generator().manual_seed(seed)
    return router(RoutingInputs(torch.ones(n, 1), clock=Clock(training=True), generator=source))


def test_candidates_are_near_the_best_relative_to_size() -> None:
    scores = torch.tensor([[2.0, 1.7, 1.5, -9.0, -math.inf], [-1.0, -1.2, -1.3, -2.0, -0.9]])
    expected = torch.tensor([[1, 1, 0, 0, 0], [1, 0, 0, 0, 1]], dtype=torch.bool)
    assert torch.equal(candidates(scores, 0.1), expected)
    assert torch.equal(candidates(scores, math.inf), scores > -math.inf)


@pytest.mark.parametrize("jitter", [0.3, math.inf])
def test_experts_are_drawn_from_the_softmax_over_candidates(jitter) -> None:
    logits = [1.0, 0.7, 0.5, -0.3]
    routing = _drawn(_router(logits, jitter=jitter))
    among = candidates(torch.tensor([logits]), jitter)[0]
    chance = torch.softmax(torch.tensor(logits).double().masked_fill(~among, -math.inf), 0)
    counts = routing.stats.counts
    assert bool((counts[~among] == 0).all())
    assert chisquare(counts[among], 20_000 * chance[among]).pvalue > 1e-3


def test_the_second_expert_is_drawn_from_what_is_left() -> None:
    logits = torch.tensor([1.0, 0.5, 0.0, -0.5])
    routing = _drawn(_router(logits.tolist(), 2, version=2, jitter=math.inf))
    pairs = torch.zeros(20_000, 2, dtype=torch.long)
    pairs[routing.unit, routing.rank] = routing.expert
    for first in range(4):
        rows = pairs[pairs[:, 0] == first]
        left = torch.arange(4) != first
        chance = torch.softmax(logits[left].double(), 0)
        counts = rows[:, 1].bincount(minlength=4)
        assert counts[first] == 0
        assert chisquare(counts[left], len(rows) * chance).pvalue > 1e-4


@pytest.mark.parametrize("version", [1, 2])
def test_weights_are_full_or_reduced_as_often_as_the_method_says(version) -> None:
    logits = torch.tensor([1.0, 0.8, 0.6])
    routing = _drawn(_router(logits.tolist(), version=version, jitter=math.inf))
    ratio = routing.weight / torch.softmax(logits, 0)[routing.expert]
    full, reduced, _ = RULES[version]
    assert_close(ratio[routing.expert == 0].unique(), torch.ones(1))
    others = ratio[routing.expert > 0]
    halves = (others - reduced).abs() < 1e-5
    assert bool((halves | ((others - 1).abs() < 1e-5)).all())
    assert abs(halves.float().mean() - (1 - full)) < 0.02


@pytest.mark.parametrize(("version", "gain"), [(1, 2.0), (2, 1.0)])
def test_the_gradient_is_the_closed_form(version, gain) -> None:
    """``gain * g * p_D (onehot(D) - p)`` whether or not the weight was reduced."""
    logits = torch.tensor([1.0, 0.8, 0.6])
    router = _router(logits.tolist(), version=version, jitter=math.inf)
    routing = _drawn(router, n=64)
    slope = torch.randn(routing.n_pairs, generator=torch.Generator().manual_seed(1))
    (slope * routing.weight).sum().backward()
    p = torch.softmax(logits, 0)
    one_hot = torch.nn.functional.one_hot(routing.expert, 3)
    each = gain * (slope * p[routing.expert])[:, None] * (one_hot - p)
    assert_close(router.score.weight.grad[:, 0], each.sum(0))


def test_coins_integrate_polynomial_losses_exactly() -> None:
    """Version 1 gives ``L(p) - L(0) + p L'(p)`` of a quadratic, version 2 ``L(p) - L(0)`` of a
    cubic, in expectation over the coin."""
    p = torch.tensor(0.7, dtype=torch.float64)

    def expected(loss, version):
        full, reduced, gain = RULES[version]
        total = 0.0
        for factor, chance in ((1.0, full), (reduced, 1 - full)):
            weight = p.clone().requires_grad_()
            loss(SampledWeight.apply(weight, torch.tensor(factor), gain)).backward()
            total += chance * weight.grad * p
        return total

    def quadratic(w):
        return 2 * w**2 - 3 * w + 1

    def cubic(w):
        return w**3 - 2 * w**2 + w - 4

    at_zero = torch.zeros((), dtype=torch.float64)
    slope = 4 * p - 3
    assert_close(expected(quadratic, 1), quadratic(p) - quadratic(at_zero) + p * slope)
    assert_close(expected(cubic, 2), cubic(p) - cubic(at_zero), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize(("k", "version"), [(1, 1), (1, 2), (2, 2)])
def test_prediction_takes_the_best_with_their_probabilities(k, version) -> None:
    torch.manual_seed(0)
    router = SparseMixerRouter(6, 5, k, version=version, jitter=math.inf)
    x = torch.randn(50, 6)
    routing = router(RoutingInputs(x))
    best = torch.zeros(50, k, dtype=torch.long)
    best[routing.unit, routing.rank] = routing.expert
    assert torch.equal(best, router.score(x).topk(k, 1).indices)
    first = routing.rank == 0
    probs = torch.softmax(router.score(x), 1)
    assert_close(routing.weight[first], probs[routing.unit, routing.expert][first])


@pytest.mark.parametrize(
    "options", [{"k": 2}, {"k": 3, "version": 2}, {"version": 3}, {"jitter": 0}]
)
def test_impossible_settings_are_refused(options) -> None:
    with pytest.raises(ValueError, match=r"version|jitter"):
        SparseMixerRouter(6, 5, **options)
