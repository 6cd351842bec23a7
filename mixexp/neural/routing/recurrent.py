"""A recurrent router: decisions of a layer look back at those of the layers before."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from ..checks import check_option
from .assignment import Routing
from .base import Router, RouterFlags, register_router
from .inputs import MissingRoutingInputError, RoutingInputs
from .ranking import check_choices, rank
from .scores import LinearScore

CELLS = {"gru": (3, torch.gru_cell), "rnn": (1, torch.rnn_tanh_cell)}


class RouterCell(nn.Module):
    """The recurrent cell that the routers of all layers share.

    Parameters
    ----------
    hidden : int
        Width of inputs and state.
    kind : {"gru", "rnn"}
        A gated recurrent unit, or a plain cell with tanh.

    Raises
    ------
    ValueError
        For another kind or a width below one.
    """

    def __init__(self, hidden: int, kind: str = "gru"):
        super().__init__()
        check_option("kind", kind, tuple(CELLS))
        if hidden < 1:
            raise ValueError(f"hidden must be at least 1; got {hidden}.")
        self.hidden = hidden
        self.kind = kind
        rows = CELLS[kind][0] * hidden
        self.weight_input = nn.Parameter(torch.empty(rows, hidden))
        self.weight_state = nn.Parameter(torch.empty(rows, hidden))
        self.bias_input = nn.Parameter(torch.zeros(rows))
        self.bias_state = nn.Parameter(torch.zeros(rows))
        for weight in (self.weight_input, self.weight_state):
            nn.init.normal_(weight, std=1 / math.sqrt(hidden))

    def forward(self, u: Tensor, state: Tensor) -> Tensor:
        """The next state, shape (T, hidden), in the precision of ``u``."""
        parameters = (self.weight_input, self.weight_state, self.bias_input, self.bias_state)
        return CELLS[self.kind][1](u, state, *(p.to(u.dtype) for p in parameters))


@register_router("recurrent")
class RecurrentRouter(Router):
    """Top-k routing by a recurrent state that runs over the layers, for each unit on its own.

    Layer l projects its units, ``u_l = W_l x_l``, a cell common to all layers takes one step,
    ``h_l = GRU(u_l, h_{l-1})``, and the scores are ``V_l h_l``; weights are their softmax at the k
    best. The state travels by `Routing.state`, and the gradient with it, so that routing in late
    layers teaches early ones. The first layer begins with a state of zeros.

    Parameters
    ----------
    dim, n_experts : int
    k : int
    hidden : int
        Width of the state.
    cell : RouterCell, optional
        The cell, the same object in the routers of all layers; one of its own by default.
    normalize : None, "sum" or "detached_sum"
        Whether chosen weights are divided by their sum.
    detach_state : bool
        Whether the gradient stops at the previous layer's state.

    Raises
    ------
    ValueError
        For values outside these ranges and a cell of another width.
    MissingRoutingInputError
        In a call, if the previous layer's state is none of this width for these units.

    References
    ----------
    Qiu et al., "Layerwise recurrent router for mixture-of-experts", 2025, equations 4 to 6.
    """

    def __init__(
        self,
        dim: int,
        n_experts: int,
        k: int = 2,
        *,
        hidden: int = 64,
        cell: RouterCell | None = None,
        normalize: str | None = None,
        detach_state: bool = False,
    ):
        super().__init__(dim, n_experts)
        check_choices(k, n_experts, normalize)
        if cell is not None and cell.hidden != hidden:
            raise ValueError(
                f"the cell has width {cell.hidden} and the router hidden={hidden}: give both the "
                "same width."
            )
        self.k = k
        self.hidden = hidden
        self.normalize = normalize
        self.detach_state = detach_state
        self.project = LinearScore(dim, hidden)
        self.cell = RouterCell(hidden) if cell is None else cell
        self.score = LinearScore(hidden, n_experts)

    def flags(self, training: bool) -> RouterFlags:
        return RouterFlags()

    def route(self, inputs: RoutingInputs) -> Routing:
        u = self.project(inputs.x)
        state = self.cell(u, self._previous(inputs, u))
        ranking = rank(inputs, self.score(state), self.k)
        real = torch.ones_like(ranking.expert, dtype=torch.bool)
        weight = ranking.normalised(inputs, ranking.keep(real), self.normalize)
        return ranking.routing(inputs, weight, None, state=state)

    def _previous(self, inputs: RoutingInputs, u: Tensor) -> Tensor:
        if inputs.state is None:
            return torch.zeros_like(u)
        state = inputs.state
        if not isinstance(state, Tensor) or state.shape != u.shape:
            got = tuple(state.shape) if isinstance(state, Tensor) else type(state).__name__
            raise MissingRoutingInputError(
                f"RecurrentRouter needs the state of the previous layer's router, of shape "
                f"{tuple(u.shape)}; got {got}. Give the layers before recurrent routers of the "
                "same hidden width."
            )
        return (state.detach() if self.detach_state else state).to(u.dtype)
