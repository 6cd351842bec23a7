"""What a router may look at: the units to route, and all that travels with them."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Any

import torch
from torch import Tensor


class MissingRoutingInputError(ValueError):
    """A router needs a field of `RoutingInputs` that was not given."""


@dataclass(frozen=True)
class Clock:
    """Where training stands. Schedules read this and nothing else.

    Parameters
    ----------
    step : int
        Optimiser steps done so far.
    total_steps : int or None
        Steps planned; schedules over the whole training need it.
    training : bool
        Whether the pass trains: noise, jitter and dropout act only then.
    """

    step: int = 0
    total_steps: int | None = None
    training: bool = False

    @property
    def progress(self) -> float:
        """Share of the training that is done, in [0, 1].

        Raises
        ------
        MissingRoutingInputError
            If ``total_steps`` is unknown.
        """
        if self.total_steps is None:
            raise MissingRoutingInputError(
                "a schedule over the whole training needs Clock(total_steps=...)."
            )
        return min(1.0, self.step / max(1, self.total_steps))


# Fields with one entry a unit: they are checked, cut and permuted together.
PER_UNIT = (
    "x",
    "segment",
    "position",
    "valid",
    "token_id",
    "task_id",
    "context",
    "importance",
)


@dataclass(frozen=True, eq=False)
class RoutingInputs:
    """T units to route, and what travels with them. A unit is a row, token, patch or sequence.

    Parameters
    ----------
    x : Tensor of shape (T, d)
        States of the units.
    segment : LongTensor of shape (T,), optional
        Sequence, sample or request that the unit belongs to.
    position : LongTensor of shape (T,), optional
        Order inside the segment.
    valid : BoolTensor of shape (T,), optional
        False marks padding: never routed, never counted.
    token_id, task_id : LongTensor of shape (T,), optional
        Vocabulary entry and task of the unit.
    context : Tensor of shape (T, c), optional
        Features for the router other than ``x``: a condition, covariates of a gate, an embedding.
    importance : Tensor of shape (T,), optional
        Importance of the units; whoever computes it answers for its causality.
    visible : BoolTensor of shape (E,) or (T, E), optional
        Experts that may be chosen.
    state : any, optional
        `Routing.state` of the previous layer, pass or round.
    experts : ExpertBank, optional
        The bank behind the router, to be read by routers that probe experts.
    layer, n_layers : int
        Place of the layer in the model.
    clock : Clock
        Step and mode.
    generator : torch.Generator, optional
        The only source of randomness; without it PyTorch's default generator is used.

    Raises
    ------
    ValueError
        If a field's shape does not go with ``x``.
    """

    x: Tensor
    segment: Tensor | None = None
    position: Tensor | None = None
    valid: Tensor | None = None
    token_id: Tensor | None = None
    task_id: Tensor | None = None
    context: Tensor | None = None
    importance: Tensor | None = None
    visible: Tensor | None = None
    state: Any = None
    experts: Any = None
    layer: int = 0
    n_layers: int = 1
    clock: Clock = Clock()
    generator: torch.Generator | None = None

    def __post_init__(self):
        if self.x.ndim != 2 or not self.x.is_floating_point():
            raise ValueError(
                f"RoutingInputs needs x of shape (units, width) with floats; got "
                f"{tuple(self.x.shape)} of {self.x.dtype}. Flatten sequences: x.flatten(0, 1)."
            )
        for name in PER_UNIT[1:]:
            field = getattr(self, name)
            if field is not None and field.shape[0] != self.x.shape[0]:
                raise ValueError(
                    f"RoutingInputs needs one entry of {name} for each of the {len(self.x)} units; "
                    f"got {len(field)}."
                )
        for name in ("valid", "visible"):
            field = getattr(self, name)
            if field is not None and field.dtype != torch.bool:
                raise ValueError(f"{name} must be boolean; got {field.dtype}.")

    @property
    def n_units(self) -> int:
        """T, padding included."""
        # not len(x), which a tracer takes for a constant
        return self.x.shape[0]

    @property
    def training(self) -> bool:
        """Whether the pass trains."""
        return self.clock.training

    def replace(self, **changes) -> RoutingInputs:
        """The same inputs with some fields exchanged."""
        return replace(self, **changes)

    def take(self, index: Tensor) -> RoutingInputs:
        """The inputs of some units, in the order of ``index`` (positions or a boolean mask)."""
        cut = {}
        for name in PER_UNIT:
            field = getattr(self, name)
            if field is not None:
                cut[name] = field[index]
        if self.visible is not None and self.visible.ndim == 2:
            cut["visible"] = self.visible[index]
        return replace(self, **cut)

    def require(self, needs: frozenset[str], who: str) -> None:
        """Raise `MissingRoutingInputError` for the first needed field that is not there."""
        for name in sorted(needs):
            if name not in _NAMES:
                raise ValueError(f"{who} needs {name!r}, which is no field of RoutingInputs.")
            if getattr(self, name) is None:
                raise MissingRoutingInputError(
                    f"{who} routes by {name}, which was not given: pass {name}=... to the layer."
                )


_NAMES = frozenset(field.name for field in fields(RoutingInputs))


def check_fields(names) -> None:
    """Refuse names that are no fields beside x, as a TypeError."""
    for name in names:
        if name not in _NAMES or name == "x":
            hint = " Padding is marked by valid=, False where there is none to route." * (
                "pad" in name or "mask" in name
            )
            raise TypeError(
                f"{name}= is no routing input; there are {sorted(_NAMES - {'x'})}.{hint}"
            )


def routing_precision(x: Tensor) -> Tensor:
    """``x`` in at least float32: decisions must not depend on the precision of the experts."""
    return x if x.dtype == torch.float64 else x.float()
