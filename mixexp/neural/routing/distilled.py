"""`DistilledRouter`: a small router learns a large one's choices, then takes its place."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..checks import check_option
from .assignment import Routing
from .base import NO_CLOCK, Router, hide, register_router, seen_logits
from .fallback import checked_ids
from .inputs import Clock, RoutingInputs
from .scores import LinearScore
from .select import top_k
from .stats import RoutingStats
from .wrapper import (
    KEEP,
    RouterWrapper,
    choices,
    probabilities_of,
    ranks,
    rechosen,
    weights_on,
)


class TokenStudent(nn.Module):
    """Scores of experts from a unit's token id alone: a small embedding times centroids.

    Parameters
    ----------
    n_tokens, n_experts, width : int
    """

    needs = frozenset({"token_id"})

    def __init__(self, n_tokens: int, n_experts: int, width: int = 50):
        super().__init__()
        self.embedding = nn.Parameter(torch.randn(n_tokens, width) * width**-0.5)
        self.centroids = nn.Parameter(torch.randn(n_experts, width))

    def forward(self, inputs: RoutingInputs) -> Tensor:
        rows = self.embedding[checked_ids(inputs, "token_id", len(self.embedding), "the student")]
        return rows.to(inputs.x.dtype) @ self.centroids.to(inputs.x.dtype).T


class LinearStudent(nn.Module):
    """Scores of experts linear in the unit's state, which gets no gradient from them.

    Parameters
    ----------
    dim, n_experts : int
    """

    needs: frozenset[str] = frozenset()

    def __init__(self, dim: int, n_experts: int):
        super().__init__()
        self.score = LinearScore(dim, n_experts)

    def forward(self, inputs: RoutingInputs) -> Tensor:
        return self.score(inputs.x.detach())


@register_router("distilled")
class DistilledRouter(RouterWrapper):
    """Two stages: a teacher routes and a student learns its first choice; then the student routes.

    In the first stage the routing is the teacher's, with the student's cross-entropy among the
    losses as ``"distillation"``. From the switch on the student chooses as many experts as the
    teacher would and is never trained again, so that with a student of token ids no token
    changes its experts any more. Weights stay the teacher's, and go on learning.

    The switch is at ``clock.step == switch_step``. `update` records it, so that a saved router
    stays switched and prediction needs no clock.

    Parameters
    ----------
    teacher : Router
        With probabilities.
    student : {"token_id", "linear"} or Module
        Table of token ids, linear scores of the states, or any module that maps `RoutingInputs`
        to scores of shape (T, E). A module may name the fields it reads as ``needs``.
    switch_step : int
    n_tokens, width : int
        Of the table of token ids: its rows, and the width of their embedding.
    keep : {"sum", "scale"}
        Weights of the student's choices, as in `PinnedRouter`.
    identity : bool
        Whether the unit itself gets what is missing of a total weight of one, as published for
        one expert with sigmoid scores: ``a f_e(x) + (1 - a) x``.

    Raises
    ------
    ValueError
        For an unknown student, ``"token_id"`` without ``n_tokens``, and teachers without
        probabilities.

    References
    ----------
    Dai et al., "StableMoE: stable routing strategy for mixture of experts", 2022.
    """

    def __init__(
        self,
        teacher: Router,
        student: str | nn.Module = "token_id",
        *,
        switch_step: int,
        n_tokens: int | None = None,
        width: int = 50,
        keep: str = "sum",
        identity: bool = False,
    ):
        check_option("keep", keep, KEEP)
        made = _student(student, teacher, n_tokens, width)
        super().__init__(teacher, tuple(getattr(made, "needs", ())))
        self.student = made
        self.switch_step = switch_step
        self.keep = keep
        self.identity = identity
        self.register_buffer("switched", torch.tensor(False))

    def route(self, inputs: RoutingInputs) -> Routing:
        routing = self.base(inputs)
        if bool(self.switched) or inputs.clock.step >= self.switch_step:
            routing = self._students(routing, inputs)
        elif inputs.training:
            routing = routing.replace(
                losses=routing.losses | {"distillation": self._distillation(routing, inputs)}
            )
        if self.identity:
            routing = routing.replace(residual=1 - routing.weights().sum(1))
        return routing

    def update(self, stats: RoutingStats, clock: Clock = NO_CLOCK) -> None:
        """What the teacher learns from the step's statistics; at its step, the switch."""
        super().update(stats, clock)
        if clock.step >= self.switch_step:
            self.switched.fill_(True)

    def _distillation(self, routing: Routing, inputs: RoutingInputs) -> Tensor:
        """Mean cross-entropy of the student's scores with the teacher's first choices."""
        probabilities_of(routing, type(self).__name__)
        place = ranks(routing)
        known = (place == 0).any(1)
        logits = seen_logits(self.student(inputs), inputs)[known]
        first = (place == 0).to(torch.int64).argmax(1)[known]
        return F.cross_entropy(logits, first, reduction="sum") / max(len(first), 1)

    def _students(self, routing: Routing, inputs: RoutingInputs) -> Routing:
        """The routing with the student's choices, as many as the teacher's."""
        old = choices(routing)
        with torch.no_grad():
            order = top_k(hide(self.student(inputs), inputs), self.n_experts)
            first = torch.arange(self.n_experts, device=order.device) < old.sum(1, keepdim=True)
            chosen = torch.zeros_like(old).scatter(1, order, first)
        weight = weights_on(routing, chosen, self.keep, type(self).__name__)
        changed = (chosen != old).any(1)
        return rechosen(routing, inputs, changed, chosen, weight)


def _student(student, teacher: Router, n_tokens: int | None, width: int) -> nn.Module:
    """The student by name, or the module that was given."""
    if isinstance(student, nn.Module):
        return student
    if student == "linear":
        return LinearStudent(teacher.dim, teacher.n_experts)
    if student != "token_id":
        raise ValueError(f'student must be "token_id", "linear" or a module; got {student!r}.')
    if n_tokens is None:
        raise ValueError('student="token_id" needs n_tokens, the number of token ids.')
    return TokenStudent(n_tokens, teacher.n_experts, width)
