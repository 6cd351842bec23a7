"""Routers with a state over the layers: the cell, the choice, and states that do not fit."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from mixexp.neural import (
    MissingRoutingInputError,
    RecurrentRouter,
    RouterCell,
    RoutingInputs,
    TopKRouter,
)


def _inputs(**fields) -> RoutingInputs:
    return RoutingInputs(torch.randn(20, 6, generator=torch.Generator().manual_seed(0)), **fields)


@pytest.mark.parametrize(("kind", "of"), [("gru", nn.GRUCell), ("rnn", nn.RNNCell)])
def test_the_cell_is_the_usual_one(kind, of) -> None:
    torch.manual_seed(0)
    cell, usual = RouterCell(5, kind), of(5, 5)
    names = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
    usual.load_state_dict(dict(zip(names, cell.state_dict().values())))
    u, state = torch.randn(2, 20, 5)
    assert_close(cell(u, state), usual(u, state))


def test_weights_are_a_top_k_of_the_state() -> None:
    torch.manual_seed(0)
    router, top_k = RecurrentRouter(6, 5, hidden=4), TopKRouter(4, 5)
    top_k.score.load_state_dict(router.score.state_dict())
    routing = router(_inputs(state=torch.randn(20, 4)))
    assert_close(routing.weights(), top_k(RoutingInputs(routing.state)).weights())


def test_the_first_state_is_zero_and_a_given_cell_is_shared() -> None:
    cell = RouterCell(4)
    router = RecurrentRouter(6, 5, hidden=4, cell=cell)
    assert router.cell is cell
    routing, given = router(_inputs()), router(_inputs(state=torch.zeros(20, 4)))
    assert torch.equal(routing.state, given.state)


def test_states_of_another_kind_are_refused() -> None:
    router = RecurrentRouter(6, 5, hidden=4)
    for state in (torch.zeros(20, 3), "hidden"):
        with pytest.raises(MissingRoutingInputError, match="state of the previous layer"):
            router(_inputs(state=state))
    with pytest.raises(ValueError, match="same width"):
        RecurrentRouter(6, 5, hidden=4, cell=RouterCell(5))
