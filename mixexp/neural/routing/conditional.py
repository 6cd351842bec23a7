"""Routing by what a unit belongs to: its task, a context, its state, or several of them."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from .assignment import Routing
from .base import Router, RouterFlags, register_router
from .fallback import checked_ids
from .inputs import RoutingInputs, routing_precision
from .ranking import check_choices, rank
from .scores import LinearScore

PARTS = ("token", "task", "context")


@register_router("conditional")
class ConditionalRouter(Router):
    """Each unit goes to the k experts of highest score, given a condition.

    The scores are a sum with one term for each part of the condition: ``W x`` for ``"token"``, a
    row of a table for ``"task"``, ``V c`` for ``"context"``, the columns c of
    `RoutingInputs.context` (attributes, a modality, an embedding of an instruction, similarities
    to clusters). Without ``"token"`` all units of a condition go to the same experts.

    Parameters
    ----------
    dim, n_experts : int
    condition : str
        Parts joined by ``+``, such as ``"task"``, ``"task+token"`` or ``"context"``.
    k : int
        Experts a unit.
    n_tasks : int, optional
        Number of tasks, where the condition has tasks.
    context_dim : int, optional
        Columns of the context, where the condition has one.
    per_task_gates : bool
        Whether W is a matrix of its own for every task; needs ``"task"`` and ``"token"``.
    normalize : None, "sum" or "detached_sum"
        Whether the softmax weights of the chosen are divided by their sum.

    Raises
    ------
    ValueError
        For an unknown or incomplete condition, settings without gradient, and, when routing, for
        ids outside 0 ... n_tasks - 1 and contexts of another width.

    References
    ----------
    Zhu et al., "Uni-Perceiver-MoE: learning sparse generalist models with conditional MoEs", 2022;
    Gupta et al., "Sparsely activated mixture-of-experts are robust multi-task learners", 2022.
    """

    def __init__(
        self,
        dim: int,
        n_experts: int,
        condition: str = "task+token",
        k: int = 2,
        *,
        n_tasks: int | None = None,
        context_dim: int | None = None,
        per_task_gates: bool = False,
        normalize: str | None = None,
    ):
        super().__init__(dim, n_experts)
        check_choices(k, n_experts, normalize)
        parts = _parts(condition, n_tasks, context_dim, per_task_gates)
        self.condition = condition
        self.k = k
        self.n_tasks = n_tasks
        self.context_dim = context_dim
        self.per_task_gates = per_task_gates
        self.normalize = normalize
        needed = {"task": "task_id", "context": "context"}
        self.needs = frozenset(needed[part] for part in parts if part in needed)
        n_gates = n_tasks or 1 if per_task_gates else 1
        self.score = LinearScore(dim, n_gates * n_experts) if "token" in parts else None
        self.task_score = (
            nn.Parameter(torch.randn(n_tasks or 0, n_experts)) if "task" in parts else None
        )
        self.context_score = (
            LinearScore(context_dim or 0, n_experts) if "context" in parts else None
        )

    def flags(self, training: bool) -> RouterFlags:
        return RouterFlags(differentiable=self.normalize != "detached_sum")

    def logits(self, inputs: RoutingInputs) -> Tensor:
        """Scores of shape (T, E), before any mask."""
        x = inputs.x
        logits = x.new_zeros(len(x), self.n_experts)
        if self.task_score is not None:
            task = checked_ids(inputs, "task_id", len(self.task_score), type(self).__name__)
            logits = logits + self.task_score.to(x.dtype)[task]
        if self.score is not None:
            scores = self.score(x)
            if self.per_task_gates:
                scores = scores.view(len(x), self.n_tasks, self.n_experts)
                scores = scores[torch.arange(len(x), device=x.device), task]
            logits = logits + scores
        if self.context_score is not None:
            logits = logits + self.context_score(self._context(inputs))
        return logits

    def _context(self, inputs: RoutingInputs) -> Tensor:
        context: Tensor = inputs.context
        if context.shape[1:] != (self.context_dim,):
            raise ValueError(
                f"{type(self).__name__} was built for context of shape (units, "
                f"{self.context_dim}); got {tuple(context.shape)}."
            )
        return routing_precision(context).to(inputs.x.dtype)

    def route(self, inputs: RoutingInputs) -> Routing:
        ranking = rank(inputs, self.logits(inputs), self.k)
        keep = ranking.keep(torch.ones_like(ranking.expert, dtype=torch.bool))
        return ranking.routing(inputs, ranking.normalised(inputs, keep, self.normalize), keep)

    def add_task(self, like: int | None = None) -> int:
        """Add a task, whose gate begins as that of another task or at random; its id is returned.

        The gates of other tasks keep every bit. Parameters are new objects: give them to the
        optimiser.
        """
        if self.task_score is None:
            raise ValueError(f"condition={self.condition!r} has no tasks to add to.")
        n_tasks, n_experts = self.task_score.shape
        if like is not None and not 0 <= like < n_tasks:
            raise ValueError(f"like must be a task from 0 to {n_tasks - 1}; got {like}.")
        with torch.no_grad():
            self.task_score = _grown(self.task_score, 1, like)
            if self.per_task_gates and self.score is not None:
                self.score.weight = _grown(self.score.weight, n_experts, like)
        self.n_tasks = n_tasks + 1
        return n_tasks


@register_router("task")
class TaskRouter(ConditionalRouter):
    """All units of a task go to the same k experts, whatever their states.

    A model that is used for one task alone needs only that task's experts.

    Parameters
    ----------
    dim, n_experts, n_tasks : int
    k : int
        Experts a task.
    normalize : None, "sum" or "detached_sum"

    References
    ----------
    Kudugunta et al., "Beyond distillation: task-level mixture-of-experts for efficient inference",
    2021.
    """

    def __init__(
        self,
        dim: int,
        n_experts: int,
        n_tasks: int,
        k: int = 2,
        *,
        normalize: str | None = None,
    ):
        super().__init__(dim, n_experts, "task", k, n_tasks=n_tasks, normalize=normalize)

    def experts_of(self, task: int) -> Tensor:
        """The experts of a task, best first, shape (k,)."""
        table: Tensor = self.task_score
        units = table.new_zeros(1, self.dim)
        routing = self(RoutingInputs(units, task_id=torch.tensor([task], device=table.device)))
        return routing.expert[routing.rank.argsort()]


def _parts(condition, n_tasks, context_dim, per_task_gates) -> tuple[str, ...]:
    """The parts of a condition; an error by name for what is missing."""
    parts = tuple(condition.split("+"))
    if len(set(parts)) < len(parts) or not set(parts) <= set(PARTS):
        raise ValueError(
            f"condition must join different ones of {PARTS} by '+'; got {condition!r}."
        )
    for part, name, size in (("task", "n_tasks", n_tasks), ("context", "context_dim", context_dim)):
        if part in parts and (size is None or size < 1):
            raise ValueError(f"condition={condition!r} needs {name}, at least 1; got {size}.")
    if per_task_gates and not {"task", "token"} <= set(parts):
        raise ValueError(f'per_task_gates needs "task" and "token"; got condition={condition!r}.')
    return parts


def _grown(weight: nn.Parameter, n_rows: int, like: int | None) -> nn.Parameter:
    """The parameter with ``n_rows`` more rows, copied from a task's or drawn at the same scale."""
    if like is None:
        new = torch.randn_like(weight[:n_rows]) * weight.square().mean().sqrt()
    else:
        new = weight[like * n_rows : (like + 1) * n_rows]
    return nn.Parameter(torch.cat([weight, new]), requires_grad=weight.requires_grad)
