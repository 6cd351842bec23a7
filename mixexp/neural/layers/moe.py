"""`MoELayer`: a router, a bank of experts, and the sum of what was chosen."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from ..experts import ExpertBank
from ..routing import Clock, Router, RouterFlags, Routing, RoutingInputs
from .trace import RoutingTrace


class MoELayer(nn.Module):
    """y_t = sum_e w_te f_e(x_t) over the chosen experts, plus what is shared.

    No unit is dropped unless a limiter is given. Nothing is stored on the module in a forward
    pass: routings go to the caller's `RoutingTrace`.

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
    layer, n_layers : int
        Place of the layer in the model, for routers that look at it.

    Raises
    ------
    ValueError
        If router, experts and shared part do not fit together.
    """

    def __init__(
        self,
        router: Router,
        experts: ExpertBank,
        *,
        shared: nn.Module | None = None,
        residual: bool = False,
        limiter=None,
        layer: int = 0,
        n_layers: int = 1,
    ):
        super().__init__()
        if router.n_experts != experts.n_experts:
            raise ValueError(
                f"the router has {router.n_experts} experts and the bank {experts.n_experts}: "
                "give both the same number."
            )
        if residual and experts.out_dim != experts.dim:
            raise ValueError(
                f"residual=True adds the input, of width {experts.dim}, to an output of width "
                f"{experts.out_dim}: give both the same width."
            )
        self.router = router
        self.experts = experts
        self.shared = shared
        self.residual = residual
        self.limiter = limiter
        self.layer = layer
        self.n_layers = n_layers

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
        y = self.combine(inputs.x, routing)
        if trace is not None:
            trace.append(routing)
        return y.view(*x.shape[:-1], self.experts.out_dim)

    def flags(self, training: bool) -> RouterFlags:
        """What the router, behind the limiter where there is one, promises in this mode."""
        flags = self.router.flags(training)
        if self.limiter is None:
            return flags
        if hasattr(self.limiter, "flags"):
            return self.limiter.flags(flags, training)
        # of a limiter that says nothing, nothing is known
        return flags.but(causal=False, batch_independent=False, variable_k=True, stochastic=True)

    def inputs(self, x: Tensor, *, trace: RoutingTrace | None = None, **context) -> RoutingInputs:
        """The routing inputs of x, with sequences flattened."""
        flat = x.reshape(-1, x.shape[-1])
        if x.ndim == 3:
            batch, length = x.shape[:2]
            segment = torch.arange(batch, device=x.device)[:, None].expand(batch, length)
            position = torch.arange(length, device=x.device).expand(batch, length)
            context = {"segment": segment, "position": position} | context
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

    def combine(self, x: Tensor, routing: Routing) -> Tensor:
        """Outputs of shape (T, out_dim) for flattened units and their routing."""
        y = self.experts.mix(x, routing)
        if routing.residual is not None:
            y = y + routing.residual.to(x.dtype)[:, None] * x
        if self.shared is not None:
            y = y + self.shared(x)
        return y + x if self.residual else y
