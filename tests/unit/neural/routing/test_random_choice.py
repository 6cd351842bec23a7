"""Random routing: uniform draws at three levels."""

from __future__ import annotations

import pytest
import torch
from scipy.stats import chisquare
from torch.testing import assert_close

from mixexp.neural import Clock, RandomRouter, RoutingInputs


def _inputs(n=6_000, *, training=True, seed=0, **fields) -> RoutingInputs:
    return RoutingInputs(
        torch.zeros(n, 3),
        segment=torch.arange(n) // 3,
        clock=Clock(training=training),
        generator=torch.Generator().manual_seed(seed),
        **fields,
    )


def _chosen(routing):
    """Which experts each unit has, shape (T, E)."""
    return routing.weights() > 0


def test_pairs_of_experts_are_drawn_uniformly() -> None:
    chosen = _chosen(RandomRouter(3, 4, 2)(_inputs())).long()
    code = (chosen * torch.tensor([1, 2, 4, 8])).sum(1).bincount(minlength=16)
    pairs = [3, 5, 6, 9, 10, 12]
    assert code[pairs].sum() == 6_000
    assert chisquare(code[pairs]).pvalue > 1e-3


@pytest.mark.parametrize(
    ("level", "n_draws"), [("token", 6_000), ("sequence", 2_000), ("batch", 1)]
)
def test_units_of_a_level_share_a_draw(level, n_draws) -> None:
    chosen = _chosen(RandomRouter(3, 4, level=level)(_inputs())).long().argmax(1)
    groups = chosen.view(n_draws, -1)
    assert bool((groups == groups[:, :1]).all())
    if n_draws > 1:
        assert chisquare(groups[:, 0].bincount(minlength=4)).pvalue > 1e-3


def test_prediction_draws_or_takes_the_mean_of_all() -> None:
    given = _inputs(50, training=False)
    assert RandomRouter(3, 4)(given).n_pairs == 50
    mean = RandomRouter(3, 4, inference="all")(given)
    assert_close(mean.weights(), torch.full((50, 4), 0.25))


@pytest.mark.parametrize("level", ["token", "sequence", "batch"])
def test_hidden_experts_leave_equal_weights_over_what_is_left(level) -> None:
    visible = torch.ones(60, 4, dtype=torch.bool)
    visible[:30, :3] = False
    weights = RandomRouter(3, 4, 2, level=level)(_inputs(60, visible=visible)).weights()
    assert_close(weights[:30, 3], torch.ones(30))
    assert_close(weights.sort(1).values[30:], torch.tensor([0, 0, 0.5, 0.5]).expand(30, 4))


def test_there_are_no_probabilities_and_so_no_balance_loss() -> None:
    routing = RandomRouter(3, 4)(_inputs())
    assert routing.probs is None
    assert routing.stats.prob_sum is None
    assert not list(RandomRouter(3, 4).parameters())


@pytest.mark.parametrize("options", [{"k": 5}, {"level": "layer"}, {"inference": "none"}])
def test_impossible_settings_are_refused(options) -> None:
    with pytest.raises(ValueError, match="must be"):
        RandomRouter(3, 4, **options)
