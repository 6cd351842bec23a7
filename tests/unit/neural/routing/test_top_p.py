"""Top-p: the chosen set is the smallest whose probabilities reach the threshold."""

from __future__ import annotations

import pytest
import torch
from torch.testing import assert_close

from mixexp.neural import RoutingInputs, TopPRouter


def _inputs(n=200, dim=6) -> RoutingInputs:
    return RoutingInputs(torch.randn(n, dim, generator=torch.Generator().manual_seed(1)))


def _router(n_experts=7, scale=2.0, **options) -> TopPRouter:
    torch.manual_seed(0)
    router = TopPRouter(6, n_experts, **options)
    with torch.no_grad():
        router.score.weight *= scale
    return router


@pytest.mark.parametrize("threshold", [0.0, 0.2, 0.5, 0.9, 0.99])
def test_the_set_is_the_smallest_that_reaches_the_threshold(threshold) -> None:
    routing = _router(threshold=threshold)(_inputs())
    sizes = torch.bincount(routing.unit, minlength=200)
    assert threshold == 0 or len(sizes.unique()) > 1
    for unit, probs in enumerate(routing.probs):
        best = probs.sort(descending=True)
        size, reached = 1, best.values[0]
        while reached < threshold:
            reached += best.values[size]
            size += 1
        chosen = routing.expert[routing.unit == unit]
        assert set(chosen.tolist()) == set(best.indices[:size].tolist())


def test_threshold_one_takes_all_even_where_rounding_reaches_one_early() -> None:
    routing = _router(threshold=1.0, scale=40.0)(_inputs())
    assert bool((routing.probs.cumsum(1)[:, -2] == 1).any())
    assert routing.n_pairs == 200 * 7


def test_weights_are_probabilities_or_sum_to_one() -> None:
    raw = _router(threshold=0.6)(_inputs())
    assert torch.equal(raw.weight, raw.probs[raw.unit, raw.expert])
    even = _router(threshold=0.6, normalize="sum")(_inputs())
    assert_close(even.weights().sum(1), torch.ones(200))
    assert_close(even.weights(), raw.weights() / raw.weights().sum(1, keepdim=True))


def test_max_k_cuts_the_least_probable() -> None:
    free, cut = _router(threshold=0.95)(_inputs()), _router(threshold=0.95, max_k=2)(_inputs())
    assert torch.bincount(free.unit).max() > 2
    assert torch.bincount(cut.unit).max() == 2
    assert bool((cut.weights() <= free.weights()).all())


def test_the_entropy_loss_is_the_mean_entropy_of_valid_units() -> None:
    given = _inputs().replace(valid=torch.arange(200) < 50)
    routing = _router()(given)
    probs = routing.probs[:50]
    assert_close(routing.losses["entropy"], -(probs * probs.log()).sum(1).mean())


@pytest.mark.parametrize(
    "options",
    [{"threshold": 1.5}, {"max_k": 0}, {"normalize": "max"}, {"max_k": 1, "normalize": "sum"}],
)
def test_impossible_settings_are_refused(options) -> None:
    with pytest.raises(ValueError, match=r"must be|always one"):
        TopPRouter(6, 4, **options)
