"""The smooth step, the differentiable switch of sparse gates, and what such gates share."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from .assignment import Routing, from_mask
from .inputs import RoutingInputs
from .ranking import with_loss
from .scores import probabilities


def smooth_step(t: Tensor, gamma: float) -> Tensor:
    """A cubic step: exactly 0 below ``-gamma / 2``, exactly 1 above ``gamma / 2``, C1 everywhere.

    Between it is ``-2 t^3 / gamma^3 + 3 t / (2 gamma) + 1 / 2``.
    """
    u = (t / gamma + 0.5).clamp(0.0, 1.0)
    # in this form both ends are exact in floating point
    return u * u * (3 - 2 * u)


def entropy(probs: Tensor) -> Tensor:
    """Entropy along the last axis, with finite derivatives at zero probabilities."""
    return -(probs * probs.clamp_min(torch.finfo(probs.dtype).tiny).log()).sum(-1)


def initial_std(gamma: float, given: float | None, dim: int) -> float:
    """Standard deviation of weights whose scores of standardised inputs have the asked spread.

    By default a tenth of gamma: a saturated step has no gradient, so training begins inside.
    """
    return (gamma / 10 if given is None else given) / math.sqrt(dim)


def check_smooth(k: int, gamma: float, init_std: float | None) -> None:
    """Refuse values outside their ranges."""
    if k < 1:
        raise ValueError(f"k must be at least 1; got {k}.")
    if not gamma > 0:
        raise ValueError(f"gamma must be positive; got {gamma}.")
    if init_std is not None and not init_std > 0:
        raise ValueError(f"init_std must be positive; got {init_std}.")


def sparse_routing(
    inputs: RoutingInputs, weight: Tensor, losses: dict[str, Tensor], **fields
) -> Routing:
    """The routing of the positive weights, with losses given per unit, shape (T,), as means."""
    probs = probabilities(weight, "sigmoid")
    routing = from_mask(inputs, weight > 0, weight, probs=probs, **fields)
    for name, each in losses.items():
        if inputs.valid is not None:
            each = torch.where(inputs.valid, each, 0.0)
        routing = with_loss(routing, name, each.sum())
    return routing
