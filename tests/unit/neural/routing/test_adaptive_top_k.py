"""Adaptive gating: the number of experts as a function of probabilities and threshold."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch

from mixexp.neural import AdaptiveTopKRouter, RoutingInputs


def _sizes(threshold, max_k=2):
    torch.manual_seed(0)
    router = AdaptiveTopKRouter(6, 5, threshold, max_k=max_k)
    routing = router(RoutingInputs(torch.randn(300, 6)))
    return torch.bincount(routing.unit, minlength=300), routing


def test_end_points_are_top_one_and_top_two() -> None:
    assert bool((_sizes(0.0)[0] == 1).all())
    assert bool((_sizes(1.0)[0] == 2).all())
    equal = AdaptiveTopKRouter(6, 5, 0.0)(RoutingInputs(torch.zeros(3, 6)))
    assert equal.n_pairs == 6  # of equal experts none stands out


@pytest.mark.parametrize("max_k", [2, 4])
def test_more_threshold_never_means_fewer_experts(max_k) -> None:
    sizes = [_sizes(threshold, max_k)[0] for threshold in torch.linspace(0, 1, 21).tolist()]
    for fewer, more in pairwise(sizes):
        assert bool((fewer <= more).all())
    assert 1 < sizes[4].float().mean() < max_k


@pytest.mark.parametrize("max_k", [1, 2, 3, 5, 9])
def test_the_last_expert_is_the_first_with_a_gap_behind(max_k) -> None:
    sizes, routing = _sizes(0.15, max_k)
    for unit, probs in enumerate(routing.probs):
        best = probs.sort(descending=True).values
        wanted = 1
        while wanted < min(max_k, 5) and not best[wanted - 1] - best[wanted] > 0.15:
            wanted += 1
        assert sizes[unit] == wanted
    assert torch.equal(routing.weight, routing.probs[routing.unit, routing.expert])


def test_impossible_settings_are_refused() -> None:
    with pytest.raises(ValueError, match="threshold"):
        AdaptiveTopKRouter(6, 4, 1.1)
    with pytest.raises(ValueError, match="max_k"):
        AdaptiveTopKRouter(6, 4, max_k=0)
