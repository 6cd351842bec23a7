"""`Router`, the base of every router, its flags, and the registry of routers by name."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from torch import Tensor

from ..precision import PreciseBuffers
from .assignment import Routing
from .inputs import Clock, RoutingInputs, routing_precision
from .select import top_k
from .stats import RoutingStats

NO_CLOCK = Clock()


class NoVisibleExpertError(ValueError):
    """A unit that must be routed may choose none of the experts."""


@dataclass(frozen=True)
class RouterFlags:
    """What a router promises in one mode. The contract tests verify each promise.

    Parameters
    ----------
    causal : bool
        Later positions of a segment change nothing for earlier ones.
    batch_independent : bool
        Other segments (or other rows, where rows are alone) change nothing.
    trainable : bool
        The router has parameters that the outputs' gradient reaches.
    differentiable : bool
        Gradients are those of the function computed, so that finite differences agree wherever
        the choice does not change. False for estimators (straight-through and the like).
    variable_k : bool
        The number of experts differs from unit to unit.
    stochastic : bool
        Randomness is drawn, from ``RoutingInputs.generator``.
    """

    causal: bool = True
    batch_independent: bool = True
    trainable: bool = True
    differentiable: bool = True
    variable_k: bool = False
    stochastic: bool = False

    def but(self, **changes) -> RouterFlags:
        """The same promises with some exchanged."""
        return replace(self, **changes)


ROUTERS: dict[str, type[Router]] = {}


def register_router(name: str):
    """Class decorator: enter a router under its public name."""

    def enter(cls):
        ROUTERS[name] = cls
        cls.name = name
        return cls

    return enter


class Router(PreciseBuffers, ABC):
    """A map from `RoutingInputs` to a `Routing` of T units over E experts.

    Nothing is written on the module by a call: what a router learns without gradients it learns
    in `update`, from statistics.

    Parameters
    ----------
    dim : int
        Width d of the units.
    n_experts : int
        E, the number of experts.
    """

    name: ClassVar[str]
    needs: frozenset[str] = frozenset()  # fields of RoutingInputs that must be given

    def __init__(self, dim: int, n_experts: int):
        super().__init__()
        if n_experts < 1 or dim < 1:
            raise ValueError(
                f"{type(self).__name__} needs at least one expert and one column; got "
                f"n_experts={n_experts}, dim={dim}."
            )
        self.dim = dim
        self.n_experts = n_experts

    @abstractmethod
    def flags(self, training: bool) -> RouterFlags:
        """What the router, as it is set, promises in training or at prediction."""

    @property
    def flops(self) -> int:
        """Operations with parameters for one unit: two for each weight of a matrix."""
        return 2 * sum(parameter.numel() for parameter in self.parameters() if parameter.ndim > 1)

    @abstractmethod
    def route(self, inputs: RoutingInputs) -> Routing:
        """The routing of checked inputs whose ``x`` has at least float32."""

    def update(self, stats: RoutingStats, clock: Clock = NO_CLOCK) -> None:
        """Learn what is not learned by gradients, once a step, from the step's statistics."""

    def forward(self, inputs: RoutingInputs) -> Routing:
        """Route: check the inputs by name, then decide in float32 whatever autocast says."""
        who = type(self).__name__
        inputs.require(self.needs, who)
        if inputs.x.shape[1] != self.dim:
            raise ValueError(f"{who} was built for width {self.dim}; got {inputs.x.shape[1]}.")
        _check_visible(inputs, self.n_experts, who)
        with torch.autocast(device_type=inputs.x.device.type, enabled=False):
            return self.route(inputs.replace(x=routing_precision(inputs.x)))


def _check_visible(inputs: RoutingInputs, n_experts: int, who: str) -> None:
    """Refuse masks of another number of experts, and units that may choose none."""
    if inputs.visible is None:
        return
    if inputs.visible.shape[-1] != n_experts:
        raise ValueError(
            f"{who} has {n_experts} experts; visible has {inputs.visible.shape[-1]} columns."
        )
    some = inputs.visible.any(-1)
    blind = ~some if inputs.valid is None or some.ndim == 0 else ~some & inputs.valid
    if blind.any() and inputs.n_units:
        where = "every unit" if blind.ndim == 0 else f"unit {int(blind.nonzero()[0, 0])}"
        raise NoVisibleExpertError(
            f"{who}: visible leaves no expert to {where}. Leave it one, or mark it as padding by "
            "valid=False."
        )


def hide(scores: Tensor, inputs: RoutingInputs) -> Tensor:
    """Scores of shape (T, E) with minus infinity at experts that may not be chosen."""
    if inputs.visible is None:
        return scores
    return scores.masked_fill(~inputs.visible, -torch.inf)


def top_visible(scores: Tensor, k: int, inputs: RoutingInputs) -> tuple[Tensor, Tensor | None]:
    """The k experts of highest score, best first, and whether they may be chosen; both (T, k).

    Hidden experts come last. The second is None where all may be chosen.
    """
    hidden = hide(scores, inputs)
    expert = top_k(hidden, k)
    seen = None if inputs.visible is None else hidden.gather(1, expert) > -torch.inf
    return expert, seen


def seen_logits(logits: Tensor, inputs: RoutingInputs) -> Tensor:
    """Logits as losses read them: hidden experts at minus infinity, blind rows finite."""
    if inputs.visible is None:
        return logits
    seen = inputs.visible.expand_as(logits)
    blind = ~seen.any(-1, keepdim=True)
    return logits.masked_fill(~seen & ~blind, -torch.inf)
