"""Experts chosen by their first activations: the banks that have a probe, and the others."""

from __future__ import annotations

import pytest
import torch
from torch.testing import assert_close

from mixexp.neural import (
    ActivationNormRouter,
    FactorizedExperts,
    FeedForwardExperts,
    HeterogeneousExperts,
    NeuronExperts,
    RoutingInputs,
)


def _inputs(**fields) -> RoutingInputs:
    return RoutingInputs(torch.randn(20, 6, generator=torch.Generator().manual_seed(0)), **fields)


@pytest.mark.parametrize(
    "bank", [FactorizedExperts(5, 6, 8, 2), FeedForwardExperts(5, 6, 8, bias=True)]
)
def test_units_go_to_the_experts_that_respond_most(bank) -> None:
    norms = bank.probe(_inputs().x).norm(dim=2)
    wanted = torch.softmax(norms, 1)
    keep = torch.zeros(20, 5).scatter(1, norms.topk(2).indices, 1.0)
    routing = ActivationNormRouter(6, 5)(_inputs(experts=bank))
    assert_close(routing.weights(), wanted * keep)


def test_banks_without_a_probe_say_so() -> None:
    router = ActivationNormRouter(6, 5)
    with pytest.raises(NotImplementedError, match="no probe"):
        router(_inputs(experts=NeuronExperts(5, 6)))
    with pytest.raises(NotImplementedError, match="different widths"):
        router(_inputs(experts=HeterogeneousExperts([4, 4, 8, 8, 8], 6)))
    with pytest.raises(ValueError, match="same number"):
        router(_inputs(experts=FeedForwardExperts(4, 6, 8)))
