"""`PinnedRouter`: units of a task always go to the task's own expert, besides others."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from ..checks import check_option
from .assignment import Routing
from .base import Router, register_router
from .fallback import checked_ids
from .inputs import RoutingInputs
from .wrapper import KEEP, RouterWrapper, choices, ranks, rechosen, weights_on


@register_router("pinned")
class PinnedRouter(RouterWrapper):
    """A router whose last choice gives way to the expert of the unit's task, in training.

    The number of choices stays what the base made it. Where the base chose the task's expert
    itself nothing changes. At prediction tasks need not be known: the base decides alone.

    Parameters
    ----------
    base : Router
        With probabilities.
    task_expert : sequence of int of length n_tasks
        Expert of each task; -1 for none.
    train_only : bool
        Whether prediction is left to the base.
    keep : {"sum", "scale"}
        Weights of changed units are the base's probabilities, scaled so that they sum to what
        the base's weights did (``"sum"``, for bases whose weights sum to one), or by the base's
        ratio of weights to probabilities (``"scale"``, for bases that do not renormalise).

    Raises
    ------
    ValueError
        For experts that do not exist, unknown tasks, and bases without probabilities.

    Notes
    -----
    Where the task's expert is hidden by ``RoutingInputs.visible`` the base decides.

    References
    ----------
    Lin et al., "NeKo: toward post recognition generative correction large language models with
    task-oriented experts", 2024.
    """

    def __init__(
        self,
        base: Router,
        task_expert: Sequence[int] | Tensor,
        *,
        train_only: bool = True,
        keep: str = "sum",
    ):
        super().__init__(base, () if train_only else ("task_id",))
        check_option("keep", keep, KEEP)
        experts = torch.as_tensor(task_expert).long()
        if experts.ndim != 1 or not bool(((experts >= -1) & (experts < self.n_experts)).all()):
            raise ValueError(
                f"task_expert needs an expert from 0 to {self.n_experts - 1}, or -1, for each "
                f"task; got {experts.tolist()}."
            )
        self.train_only = train_only
        self.keep = keep
        self.register_buffer("task_expert", experts)

    def route(self, inputs: RoutingInputs) -> Routing:
        routing = self.base(inputs)
        if self.train_only and not inputs.training:
            return routing
        who = type(self).__name__
        inputs.require(frozenset({"task_id"}), who)
        expert = self.task_expert[checked_ids(inputs, "task_id", len(self.task_expert), who)]
        return self._pinned(routing, inputs, expert, who)

    def _pinned(self, routing: Routing, inputs: RoutingInputs, expert: Tensor, who: str) -> Routing:
        """The routing in which each unit's expert, where it has one, is among its choices."""
        place = expert.clamp_min(0)[:, None]
        old = choices(routing)
        changed = (expert >= 0) & ~old.gather(1, place)[:, 0]
        if inputs.valid is not None:
            changed &= inputs.valid
        if inputs.visible is not None:
            changed &= inputs.visible.expand_as(old).gather(1, place)[:, 0]
        last = ranks(routing).argmax(1, keepdim=True)
        chosen = old.scatter(1, last, False).scatter(1, place, True)
        weight = weights_on(routing, chosen, self.keep, who)
        return rechosen(routing, inputs, changed, chosen, weight)
