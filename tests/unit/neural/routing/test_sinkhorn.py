"""The Sinkhorn router: what training and prediction choose."""

from __future__ import annotations

import pytest
import torch
from torch.testing import assert_close

from mixexp.neural import Clock, RoutingInputs, SinkhornRouter
from mixexp.neural.routing.balanced import sinkhorn


def _inputs(training, n=64, **fields) -> RoutingInputs:
    x = torch.randn(n, 6, generator=torch.Generator().manual_seed(0))
    return RoutingInputs(x + 1, clock=Clock(training=training), **fields)


def _router(**options) -> SinkhornRouter:
    torch.manual_seed(0)
    return SinkhornRouter(6, 4, **options)


@pytest.mark.parametrize("k", [1, 2])
def test_training_takes_the_largest_entries_of_the_plan(k) -> None:
    router, given = _router(k=k), _inputs(True)
    best = sinkhorn(router.score(given.x)).topk(k).indices
    chosen = torch.zeros(64, 4).scatter_(1, best, 1.0)
    assert torch.equal((router(given).weights() > 0).float(), chosen)


@pytest.mark.parametrize(("score", "of"), [("sigmoid", torch.sigmoid), ("softmax", None)])
def test_weights_are_those_of_the_scores_in_both_modes(score, of) -> None:
    router = _router(score=score)
    for training in (True, False):
        given = _inputs(training)
        logits = router.score(given.x)
        wanted = torch.softmax(logits, 1) if of is None else of(logits)
        weights = router(given).weights()
        assert_close(weights, torch.where(weights > 0, wanted, 0.0))
        if not training:
            assert torch.equal(weights.argmax(1), logits.argmax(1))


def test_padding_takes_no_part_in_the_plan() -> None:
    router = _router()
    valid = torch.arange(64) % 3 > 0
    padded = router(_inputs(True, valid=valid))
    alone = router(_inputs(True).take(valid))
    assert torch.equal(padded.weights()[valid], alone.weights())


@pytest.mark.parametrize(
    "options", [{"k": 5}, {"score": "relu"}, {"sharpness": 0.0}, {"tol": 0.0}, {"n_iter": 0}]
)
def test_impossible_settings_are_refused(options) -> None:
    with pytest.raises(ValueError, match="must be"):
        _router(**options)
