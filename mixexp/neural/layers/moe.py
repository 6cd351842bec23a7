"""`MoELayer`: a router, a bank of experts, and the sum of what was chosen."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from ..experts import ExpertBank, FeedForwardExperts, GatedExperts
from ..experts.merging import check_mergeable, merged_by_item
from ..experts.mixing import mixed
from ..routing import Clock, Router, RouterFlags, Routing, RoutingInputs, TopKRouter
from .base import RoutedLayer, check_call, places
from .dense import FeedForward
from .trace import RoutingTrace

COMBINATIONS = ("outputs", "parameters")
# what has one merged expert, and the routing input that names it
ITEMS = {"token": None, "sequence": "segment", "task": "task_id"}


class MoELayer(RoutedLayer):
    """y_t = sum_e w_te f_e(x_t) over the chosen experts, plus what is shared.

    No unit is dropped unless a limiter is given. Nothing is stored on the module in a forward
    pass: routings go to the caller's `RoutingTrace`.

    How many rows an expert gets is known only when it runs, and a graph of fixed shapes cannot
    hold products of such sizes. `torch.export` records the dense sum over all experts instead:
    the same values, from one program for all batch sizes, at the cost of every expert for every
    unit. `torch.compile` breaks the graph at the experts and runs them as without it;
    ``fullgraph=True`` is refused by PyTorch.

    Parameters
    ----------
    router : Router
    experts : ExpertBank
        As many experts as the router has.
    shared : Module, optional
        Computed for every unit and added (shared experts).
    residual : bool
        Whether the input is added to the output.
    limiter : callable, optional
        ``limiter(routing, inputs) -> routing``, such as a `CapacityLimiter`; none by default.
        Its own ``flags(router_flags, training)`` say what is still promised behind it.
    combine : {"outputs", "parameters"}
        What is summed with the weights: the experts' outputs, or their parameters, so that one
        merged expert is computed. Both agree for linear experts and where one expert has weight
        one; otherwise they are different models, and weights should sum to one.
    merge : {"token", "sequence", "task"}
        With ``combine="parameters"``: what has a merged expert of its own. Weights of a sequence
        or task are the means over its units, and merging pays where items have many units.
    layer, n_layers : int
        Place of the layer in the model, for routers that look at it.

    Raises
    ------
    ValueError
        If router, experts and shared part do not fit together.

    References
    ----------
    He et al., "Merging experts into one", 2023, section 3, and Zadouri et al., "Pushing mixture
    of experts to the limit", 2023, for merged parameters; Dai et al., "DeepSeekMoE", 2024, for
    `feed_forward`.
    """

    def __init__(
        self,
        router: Router,
        experts: ExpertBank,
        *,
        shared: nn.Module | None = None,
        residual: bool = False,
        limiter=None,
        combine: str = "outputs",
        merge: str = "token",
        layer: int = 0,
        n_layers: int = 1,
    ):
        super().__init__()
        _check_parts(router, experts, limiter)
        if router.n_experts != experts.n_experts:
            raise ValueError(
                f"the router has {router.n_experts} experts and the bank {experts.n_experts}: "
                "give both the same number."
            )
        if router.dim != experts.dim:
            raise ValueError(
                f"the router reads units of width {router.dim} and the bank of width "
                f"{experts.dim}: give both the same width."
            )
        if residual and experts.out_dim != experts.dim:
            raise ValueError(
                f"residual=True adds the input, of width {experts.dim}, to an output of width "
                f"{experts.out_dim}: give both the same width."
            )
        if combine not in COMBINATIONS or merge not in ITEMS:
            raise ValueError(
                f"combine must be one of {COMBINATIONS} and merge one of {tuple(ITEMS)}; got "
                f"{combine!r} and {merge!r}."
            )
        if combine == "parameters":
            check_mergeable(experts)
        elif merge != "token":
            raise ValueError(f'merge={merge!r} merges parameters: give combine="parameters" too.')
        self.router = router
        self.experts = experts
        self.shared = shared
        self.residual = residual
        self.limiter = limiter
        self.combination = combine
        self.merge = merge
        self.layer = layer
        self.n_layers = n_layers

    @staticmethod
    def feed_forward(
        dim: int,
        hidden: int,
        n_experts: int,
        k: int,
        *,
        granularity: int = 1,
        n_shared: int = 0,
        router: Callable[..., Router] = TopKRouter,
        gated: bool = False,
        expert_options: dict[str, Any] | None = None,
        **options,
    ) -> MoELayer:
        """A layer of feed-forward experts, fine-grained and with shared experts where asked.

        With granularity m there are ``m n_experts`` experts of ``hidden / m`` hidden units, and
        every unit goes to ``m k`` of them: as many parameters and active parameters as with
        m = 1. Of both numbers ``n_shared`` experts are taken that all units go to, outside the
        router.

        Parameters
        ----------
        dim, hidden : int
            Width of a unit, and hidden units of an expert at granularity 1.
        n_experts, k : int
            Experts, and experts of a unit, at granularity 1.
        granularity : int
            m, a divisor of ``hidden``.
        n_shared : int
            Shared experts, in numbers of fine-grained ones; less than ``m k``.
        router : callable
            ``router(dim, n_experts, k) -> Router``, called with the numbers of routed experts.
        gated : bool
            Whether experts are `GatedExperts`.
        expert_options : dict, optional
            Further arguments of the experts, such as ``activation``.
        **options
            Further arguments of `MoELayer`.

        Raises
        ------
        ValueError
            If m does not divide ``hidden``, or ``n_shared`` leaves nothing to route.
        """
        if granularity < 1 or hidden % granularity:
            raise ValueError(
                f"granularity must divide hidden={hidden}; got {granularity}, which leaves no "
                "whole number of hidden units an expert."
            )
        if not 0 <= n_shared < granularity * k:
            raise ValueError(
                f"n_shared must be from 0 to granularity * k - 1 = {granularity * k - 1}, so that "
                f"a choice remains; got {n_shared}."
            )
        width = hidden // granularity
        n_routed, n_chosen = granularity * n_experts - n_shared, granularity * k - n_shared
        given = expert_options or {}
        kind = GatedExperts if gated else FeedForwardExperts
        # a sum of shared experts is one expert with all their hidden units
        shared = FeedForward(dim, n_shared * width, gated=gated, **given) if n_shared else None
        return MoELayer(
            router(dim, n_routed, n_chosen),
            kind(n_routed, dim, width, **given),
            shared=shared,
            **options,
        )

    def forward(self, x: Tensor, *, trace: RoutingTrace | None = None, **context) -> Tensor:
        """Outputs for x of shape (T, dim) or (batch, length, dim).

        Parameters
        ----------
        x : Tensor
            In (batch, length, dim), segments and positions are those of the batch unless given.
        trace : RoutingTrace, optional
            Where the routing is recorded; the layer before gives its state through it.
        **context
            Further fields of `RoutingInputs`, each of shape x.shape[:-1] (+ columns).
        """
        inputs = self.inputs(x, trace=trace, **context)
        routing = self.route(inputs)
        y = self.combine(inputs.x, routing, self.items(inputs))
        if trace is not None:
            trace.append(routing)
        return y.view(*x.shape[:-1], self.experts.out_dim)

    def flags(self, training: bool) -> RouterFlags:
        """What router, limiter and merging promise together in this mode."""
        flags = self.router.flags(training)
        if self.merge != "token":
            # weights of an item are means over its units
            flags = flags.but(
                causal=False,
                batch_independent=flags.batch_independent and self.merge == "sequence",
            )
        if self.limiter is None:
            return flags
        if hasattr(self.limiter, "flags"):
            return self.limiter.flags(flags, training)
        # of a limiter that says nothing, nothing is known
        return flags.but(causal=False, batch_independent=False, variable_k=True, stochastic=True)

    @property
    def routed_by(self) -> str:
        names = [type(self.router).__name__]
        if self.limiter is not None:
            names.append(type(self.limiter).__name__)
        if self.merge != "token":
            names.append(f"merge={self.merge!r}")
        return " with ".join(names)

    def inputs(self, x: Tensor, *, trace: RoutingTrace | None = None, **context) -> RoutingInputs:
        """The routing inputs of x, with sequences flattened."""
        check_call(x, trace, context)
        flat = x.reshape(-1, x.shape[-1])
        if x.ndim == 3:
            context = places(x) | context
        for name, value in context.items():
            if isinstance(value, Tensor) and x.ndim == 3 and value.shape[:2] == x.shape[:2]:
                context[name] = value.reshape(-1, *value.shape[2:])
        fixed: dict[str, Any] = {
            "state": None if trace is None else trace.state,
            "experts": self.experts,
        }
        fixed |= {"layer": self.layer, "n_layers": self.n_layers}
        fixed |= {"clock": Clock(training=self.training)}
        return RoutingInputs(flat, **(fixed | context))

    def route(self, inputs: RoutingInputs) -> Routing:
        """The routing, after the limiter where there is one."""
        routing = self.router(inputs)
        return routing if self.limiter is None else self.limiter(routing, inputs)

    def items(self, inputs: RoutingInputs) -> Tensor | None:
        """What has a merged expert of its own: an item a unit, -1 for padding, shape (T,).

        None where that is each unit, or where outputs are summed.
        """
        name = ITEMS[self.merge]
        if name is None:
            return None
        inputs.require(frozenset({name}), f'MoELayer(merge="{self.merge}")')
        item = torch.unique(getattr(inputs, name), return_inverse=True)[1]
        return item if inputs.valid is None else item.masked_fill(~inputs.valid, -1)

    def combine(self, x: Tensor, routing: Routing, items: Tensor | None = None) -> Tensor:
        """Outputs of shape (T, out_dim) for flattened units, their routing and `items`."""
        if self.combination == "outputs":
            y = mixed(self.experts, x, routing)
        else:
            y = self._merged(x, routing, items)
        if routing.residual is not None:
            y = y + routing.residual.to(x.dtype)[:, None] * x
        if self.shared is not None:
            y = y + self.shared(x)
        return y + x if self.residual else y

    def _merged(self, x: Tensor, routing: Routing, items: Tensor | None) -> Tensor:
        """Outputs of merged experts."""
        if routing.slot_expert is not None:
            raise ValueError(
                f'combine="parameters" merges the experts of a unit; {type(self.router).__name__} '
                'mixes units in slots. Use combine="outputs".'
            )
        if self.merge == "token":
            return self.experts.mix_merged(x, routing)
        if items is None:
            raise ValueError(
                f'with merge="{self.merge}" combine needs the item of each unit: pass '
                "layer.items(inputs)."
            )
        return merged_by_item(self.experts, x, routing, items)


def _check_parts(router, experts, limiter) -> None:
    """Refuse parts of a layer that are none, by the argument they came in."""
    if not isinstance(router, Router):
        raise TypeError(
            "router must be a Router, such as TopKRouter(dim, n_experts, k=2); got "
            f"{_described(router)}."
        )
    if not isinstance(experts, ExpertBank):
        raise TypeError(
            "experts must be an ExpertBank, such as GatedExperts(n_experts, dim, hidden), or "
            f"ModuleExperts for modules of one's own; got {_described(experts)}."
        )
    if limiter is not None and not callable(limiter):
        raise TypeError(
            "limiter must be callable, such as CapacityLimiter(1.25), or None; got "
            f"{_described(limiter)}."
        )


def _described(part) -> str:
    """A module by its class, whose repr has many lines; anything else as it is."""
    return type(part).__name__ if isinstance(part, nn.Module) else repr(part)
