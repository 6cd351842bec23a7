"""Top-k routing: scores that travel from layer to layer."""

from __future__ import annotations

import pytest
import torch
from torch.testing import assert_close

from mixexp.neural import MissingRoutingInputError, RoutingInputs, TopKRouter

LEVELS = {"token": None, "sequence": "segment", "task": "task_id"}


def _inputs(**fields) -> RoutingInputs:
    x = torch.randn(12, 6, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    given = {"segment": torch.arange(4).repeat(3), "task_id": torch.arange(2).repeat(6)}
    return RoutingInputs(x, **(given | fields))


def _router(seed, level="token") -> TopKRouter:
    torch.manual_seed(seed)
    router = TopKRouter(6, 5, gating_residual=True, level=level).double()
    torch.nn.init.normal_(router.residual_score.weight)
    return router


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("before", LEVELS)
def test_a_gating_residual_adds_the_mean_scores_of_the_layer_before(before, level) -> None:
    """Of the valid units of a sequence or task; what is handed on has a row for each unit."""
    valid = torch.arange(12) % 5 > 0
    first, second = _router(1, before), _router(2, level)
    given = _inputs(valid=valid)
    state = first(given).state
    state = torch.where(valid[:, None], state, torch.nan)  # of padding nothing is read
    routing = second(given.replace(state=state))
    units = torch.arange(12) if level == "token" else getattr(given, LEVELS[level])
    for t in valid.nonzero().squeeze(1):
        own = valid & (units == units[t])
        wanted = second.score(given.x[own].mean(0)) + second.residual_score(state[own].mean(0))
        assert_close(routing.logits[t], wanted)
        assert_close(routing.state[t], wanted)
    wanted = torch.autograd.grad(routing.weights()[valid].square().sum(), first.score.weight)[0]
    assert bool((wanted != 0).any())


@pytest.mark.parametrize("level", LEVELS)
def test_scores_of_other_units_or_experts_are_refused(level) -> None:
    for state in (torch.zeros(12, 4), torch.zeros(4, 5), "scores"):
        with pytest.raises(MissingRoutingInputError, match=r"shape \(12, 5\)"):
            _router(1, level)(_inputs(state=state))
    plain = TopKRouter(6, 5, level=level).double()
    assert plain(_inputs(state="of another kind")).state is None
