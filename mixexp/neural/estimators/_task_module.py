"""`MultiTaskMoE`: experts that all tasks share, and a gate and a tower of each task's own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..experts import MLPExperts
from ..layers import RoutingTrace
from ..routing import Clock, Router, RouterFlags, Routing, RoutingInputs
from ._heads import check_top
from ._module import Encoder, build_router, dropped


class TaskPass(NamedTuple):
    """Outputs of the tasks' towers and the routings of their gates, in the order of ``tasks``."""

    tasks: Sequence[int]
    outputs: list[Tensor]
    routings: list[Routing]
    routed: list[tuple[Router, Routing]]


class TaskGate(nn.Module):
    """What a task has of its own: a router over the shared experts, and a linear tower.

    Parameters
    ----------
    router : Router
    width, out_dim : int
        Width of the experts' outputs and of the task's.
    """

    def __init__(self, router: Router, width: int, out_dim: int):
        super().__init__()
        self.router = router
        self.tower = nn.Linear(width, out_dim)

    def flags(self, training: bool) -> RouterFlags:
        """What the gate's routing promises, as of a routed layer."""
        return self.router.flags(training)

    def forward(self, expert_outputs: Tensor, routing: Routing) -> Tensor:
        """Outputs of shape (T, out_dim) from those of all experts, (E, T, width)."""
        chosen = expert_outputs[routing.expert, routing.unit]
        weighted = chosen * routing.weight.to(chosen.dtype)[:, None]
        mixed = chosen.new_zeros(expert_outputs.shape[1:]).index_add(0, routing.unit, weighted)
        return self.tower(torch.relu(mixed))


class MultiTaskMoE(nn.Module):
    """Rows of a table to the outputs of several tasks.

    Parameters
    ----------
    encoder : Encoder
    out_dims : list of int
        Outputs of each task.
    classifies : bool
        Cross-entropy over a task's outputs, or squared error of its one output.
    router : str, Router, class or functools.partial
        One is made for each task.
    n_experts, d_expert, n_layers, width : int
        Shared experts: hidden width, hidden layers, and width of the output.
    dropout : float

    References
    ----------
    Ma et al., "Modeling task relationships in multi-task learning with multi-gate
    mixture-of-experts", 2018, section 4.
    """

    def __init__(
        self,
        encoder: Encoder,
        out_dims: list[int],
        *,
        classifies: bool,
        router: Any,
        n_experts: int,
        d_expert: int,
        n_layers: int,
        width: int,
        dropout: float,
    ):
        super().__init__()
        self.encoder = encoder
        self.classifies = classifies
        self.router_setting = router
        self.dropout = dropout
        self.bank = MLPExperts(
            n_experts, encoder.out_dim, d_expert, n_layers=n_layers, out_dim=width
        )
        self.layers = nn.ModuleList([self.new_gate(out_dim) for out_dim in out_dims])
        # shares of the weight for which a task's target is known, over the training rows
        self.register_buffer("known", torch.ones(len(out_dims), dtype=torch.float64))

    def new_gate(self, out_dim: int) -> TaskGate:
        """An untrained gate and tower for another task."""
        router = build_router(self.router_setting, self.encoder.out_dim, self.bank.n_experts)
        return TaskGate(router, self.bank.out_dim, out_dim)

    def forward(
        self, numeric, codes, clock: Clock, generator, tasks: Sequence[int] | None = None
    ) -> TaskPass:
        """Outputs of all tasks, or of those in ``tasks``."""
        tasks = range(len(self.layers)) if tasks is None else tasks
        x = dropped(self.encoder(numeric, codes), self.dropout, clock, generator)
        shared = self.bank.every(x)
        inputs = RoutingInputs(x, experts=self.bank, clock=clock, generator=generator)
        outputs, trace, routed = [], RoutingTrace(), []
        for task in tasks:
            gate = self.layers[task]
            routing = gate.router(inputs)
            check_top(routing, per_expert=True)
            trace.append(routing)
            outputs.append(gate(shared, routing))
            routed.append((gate.router, routing))
        return TaskPass(tasks, outputs, trace.routings, routed)

    def losses(self, passed: TaskPass, target: Tensor) -> Tensor:
        """Loss of every row, shape (T,): the mean over tasks, each over its known targets."""
        total = 0.0
        for task, output in zip(passed.tasks, passed.outputs, strict=True):
            own = target[:, task]
            if self.classifies:
                known = own >= 0
                loss = F.cross_entropy(output, own.clamp_min(0), reduction="none")
            else:
                known = ~torch.isnan(own)
                loss = (output[:, 0] - torch.where(known, own, 0.0)).square()
            share = self.known[task].to(loss.dtype)
            total = total + torch.where(known, loss, 0.0) / share
        return total / len(passed.outputs)


class OneTask(nn.Module):
    """A multi-task module of which one task is trained and seen; all else is frozen."""

    def __init__(self, module: MultiTaskMoE, task: int):
        super().__init__()
        self.module = module
        self.task = task
        for parameter in module.parameters():
            parameter.requires_grad_(False)
        for parameter in self.layers[0].parameters():
            parameter.requires_grad_(True)

    @property
    def layers(self) -> list[TaskGate]:
        """The gate of the task."""
        return [self.module.layers[self.task]]

    def forward(self, numeric, codes, clock: Clock, generator) -> TaskPass:
        return self.module(numeric, codes, clock, generator, [self.task])

    def losses(self, passed: TaskPass, target: Tensor) -> Tensor:
        """Loss of every row in the task, shape (T,)."""
        return self.module.losses(passed, target)
