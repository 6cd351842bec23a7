"""The dense gate: all experts in training, and what is left of them at prediction."""

from __future__ import annotations

import pytest
import torch
from torch.testing import assert_close

from mixexp.neural import Clock, DenseRouter, RoutingInputs


def _inputs(*, training=False, n=100) -> RoutingInputs:
    x = torch.randn(n, 6, generator=torch.Generator().manual_seed(0))
    return RoutingInputs(x, clock=Clock(training=training))


def _router(inference="all", **options) -> DenseRouter:
    torch.manual_seed(0)
    return DenseRouter(6, 5, inference, **options)


@pytest.mark.parametrize("inference", ["all", "topk", "threshold"])
def test_training_is_the_softmax_over_all(inference) -> None:
    router, given = _router(inference), _inputs(training=True)
    assert_close(router(given).weights(), torch.softmax(router.score(given.x), 1))


def test_all_and_threshold_zero_predict_as_in_training() -> None:
    trained = _router()(_inputs(training=True)).weights()
    assert torch.equal(_router("all")(_inputs()).weights(), trained)
    assert torch.equal(_router("threshold", threshold=0.0)(_inputs()).weights(), trained)
    assert torch.equal(_router("topk", k=5)(_inputs()).weights(), trained)


def test_prediction_keeps_the_largest_weights() -> None:
    dense = _router()(_inputs()).weights()
    top = _router("topk", k=2)(_inputs()).weights()
    kth = dense.sort(1, descending=True).values[:, 1:2]
    assert_close(top, torch.where(dense >= kth, dense, 0.0))
    cut = _router("threshold", threshold=0.3)(_inputs()).weights()
    best = dense.max(1, keepdim=True).values
    assert_close(cut, torch.where((dense >= 0.3) | (dense == best), dense, 0.0))
    assert best.min() < 0.3  # so the rule for the best one is seen


def test_kept_weights_can_sum_to_one() -> None:
    even = _router("topk", k=2, normalize="sum")(_inputs()).weights()
    raw = _router("topk", k=2)(_inputs()).weights()
    assert_close(even, raw / raw.sum(1, keepdim=True))


@pytest.mark.parametrize(
    "options",
    [{"inference": "sparse"}, {"inference": "topk", "k": 6}, {"threshold": 1.0}, {"normalize": 1}],
)
def test_impossible_settings_are_refused(options) -> None:
    with pytest.raises(ValueError, match="must be"):
        DenseRouter(6, 5, **options)
