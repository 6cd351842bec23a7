"""`TabularMoE`: embeddings of columns, residual MoE blocks, and a top layer of experts."""

from __future__ import annotations

import copy
import functools
import math
from difflib import get_close_matches
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from ..._component import resolve
from ..embeddings import EMBEDDINGS, CategoricalEmbedding
from ..embeddings.numeric import PlainColumns
from ..experts import MLPExperts
from ..layers import MoELayer, RoutingTrace
from ..routing import ROUTERS, Clock, Router, Routing
from ._columns import Columns
from ._heads import Head, check_top

# What a table's rows can be asked for: the bank and the scores of the layer before.
GIVEN = frozenset({"experts", "state"})


class Pass(NamedTuple):
    """One forward pass: states before the top layer, its routing, and all routings."""

    x: Tensor
    routing: Routing
    routed: list[tuple[Router, Routing]]


class Encoder(nn.Module):
    """Columns of a table as one vector a row."""

    def __init__(self, numeric: nn.Module, categorical: CategoricalEmbedding | None):
        super().__init__()
        self.numeric = numeric
        self.categorical = categorical
        self.out_dim = numeric.out_dim + (0 if categorical is None else categorical.out_dim)

    def forward(self, numeric: Tensor, codes: Tensor) -> Tensor:
        x = self.numeric(numeric)
        return x if self.categorical is None else torch.cat([x, self.categorical(codes)], 1)


def build_encoder(embedding, columns: Columns, numeric, weight) -> Encoder:
    """The encoder of standardised columns of shape (n, p) with the weights of their rows."""
    plain = embedding is None or not numeric.shape[1]
    module = (
        PlainColumns(numeric.shape[1])
        if plain
        else resolve(embedding, EMBEDDINGS, "numeric_embedding").build(numeric, weight)
    )
    categorical = CategoricalEmbedding(columns.shares) if columns.shares else None
    encoder = Encoder(module, categorical)
    if not encoder.out_dim:
        raise ValueError("every column is constant, and its piecewise linear encoding is empty.")
    return encoder


def build_router(router, dim: int, n_experts: int, *, first: bool = True) -> Router:
    """A router of ``dim`` columns over ``n_experts``, from a name, class, partial or instance.

    Raises
    ------
    ValueError
        For an unknown name, an instance of another size, or a router that needs what rows of a
        table do not have.
    """
    if isinstance(router, str):
        if router not in ROUTERS:
            near = get_close_matches(router, ROUTERS, n=1)
            hint = f" Did you mean {near[0]!r}?" if near else ""
            raise ValueError(f"router {router!r} is unknown; known are {sorted(ROUTERS)}.{hint}")
        made = _by_name(router, dim, n_experts)
    elif isinstance(router, Router):
        made = copy.deepcopy(router)
    elif isinstance(router, (type, functools.partial)) or callable(router):
        made = router(dim, n_experts)
    else:
        made = router
    if not isinstance(made, Router):
        raise TypeError(
            "router must be a name, a Router, or a class or functools.partial that makes one from "
            f"(dim, n_experts); got {router!r}."
        )
    if (made.dim, made.n_experts) != (dim, n_experts):
        raise ValueError(
            f"the router has dim={made.dim} and n_experts={made.n_experts}; this layer needs "
            f"dim={dim} and n_experts={n_experts}. Give a class or functools.partial instead of "
            "an instance."
        )
    lacking = made.needs - (GIVEN - {"state"} if first else GIVEN)
    if lacking:
        raise ValueError(
            f"{type(made).__name__} routes by {sorted(lacking)}, which rows of a table do not have"
            + (" before the first layer" if "state" in lacking else "")
            + ". Use another router."
        )
    return made


def _by_name(name: str, dim: int, n_experts: int) -> Any:
    """The router of a registered name, where that needs nothing but its size."""
    kind = ROUTERS[name]
    try:
        return kind(dim, n_experts)
    except (TypeError, AttributeError) as error:
        raise TypeError(
            f"router={name!r} needs more than (dim, n_experts): {error}. Give "
            f"functools.partial({kind.__name__}, ...) or an instance."
        ) from error
    except ValueError as error:
        raise ValueError(
            f"router={name!r} with the defaults of {kind.__name__}: {error} Give "
            f"functools.partial({kind.__name__}, ...) with settings that fit."
        ) from error


class TabularMoE(nn.Module):
    """Rows of a table to the experts of a head.

    Parameters
    ----------
    encoder : Encoder
    head : Head
    router : str, Router, class or functools.partial
        One is made (an instance: copied) for each layer.
    n_experts, d_expert, n_layers : int
        Experts of each layer, the width of their hidden layers and the number of these.
    n_blocks : int
        Layers of experts: n_blocks - 1 residual ones of width ``width``, and the top one.
    width : int
    dropout : float
        Share of the inputs of each layer set to zero in training.
    """

    def __init__(
        self,
        encoder: Encoder,
        head: Head,
        *,
        router: Any,
        n_experts: int,
        d_expert: int,
        n_layers: int,
        n_blocks: int,
        width: int,
        dropout: float,
    ):
        super().__init__()
        self.encoder = encoder
        self.head = head
        self.dropout = dropout
        self.project = nn.Linear(encoder.out_dim, width) if n_blocks > 1 else None
        dim = width if n_blocks > 1 else encoder.out_dim
        outs = [dim] * (n_blocks - 1) + [head.out_dim]
        self.norms = nn.ModuleList([nn.LayerNorm(dim) for _ in range(n_blocks - 1)])
        self.layers = nn.ModuleList()
        for layer, out_dim in enumerate(outs):
            made = build_router(router, dim, n_experts, first=layer == 0)
            bank = MLPExperts(n_experts, dim, d_expert, n_layers=n_layers, out_dim=out_dim)
            self.layers.append(MoELayer(made, bank, layer=layer, n_layers=n_blocks))

    @property
    def top(self) -> MoELayer:
        """The layer whose experts are those of the head."""
        return self.layers[-1]

    def forward(self, numeric, codes, clock: Clock, generator: torch.Generator | None) -> Pass:
        """States, and routings of all layers, of standardised columns and codes."""
        trace = RoutingTrace()
        x = self.encoder(numeric, codes)
        x = x if self.project is None else self.project(x)
        context: dict[str, Any] = {"clock": clock, "generator": generator}
        for norm, layer in zip(self.norms, self.layers, strict=False):
            inner = dropped(norm(x), self.dropout, clock, generator)
            x = x + layer(inner, trace=trace, **context)
        x = dropped(x, self.dropout, clock, generator)
        routing = self.top.route(self.top.inputs(x, trace=trace, **context))
        check_top(routing, self.head.per_expert)
        trace.append(routing)
        routers = [layer.router for layer in self.layers]
        return Pass(x, routing, list(zip(routers, trace.routings, strict=True)))

    def losses(self, passed: Pass, target: Tensor) -> Tensor:
        """Loss of every row, shape (T,)."""
        return self.head.losses(self.top.experts, passed.x, passed.routing, target)

    def answer(self, passed: Pass) -> dict[str, Tensor]:
        """What predictions are made of."""
        return self.head.answer(self.top.experts, passed.x, passed.routing)


def dropped(x: Tensor, share: float, clock: Clock, generator) -> Tensor:
    """x with a share of its entries set to zero in training, the others scaled up."""
    if not clock.training or share == 0:
        return x
    kept = torch.rand(x.shape, generator=generator, dtype=x.dtype, device=x.device) >= share
    return x * kept / (1 - share)


def n_parameters(module: nn.Module) -> int:
    """Learned numbers of a module."""
    return sum(math.prod(p.shape) for p in module.parameters())
