"""Noise for scores, drawn from the generator of the routing inputs and from nothing else."""

from __future__ import annotations

import torch
from torch import Tensor

from .inputs import RoutingInputs


def normal_noise(like: Tensor, inputs: RoutingInputs) -> Tensor:
    """Standard normal draws of the shape of ``like``."""
    return torch.randn(like.shape, generator=inputs.generator, dtype=like.dtype, device=like.device)


def uniform_noise(shape: tuple[int, ...], like: Tensor, inputs: RoutingInputs) -> Tensor:
    """Uniform draws from [0, 1) in the precision and on the device of ``like``."""
    return torch.rand(shape, generator=inputs.generator, dtype=like.dtype, device=like.device)


def gumbel_noise(shape: tuple[int, ...], like: Tensor, inputs: RoutingInputs) -> Tensor:
    """Standard Gumbel draws: the argument of the maximum of scores plus these is a sample from
    the scores' softmax."""
    draws = torch.empty(shape, dtype=like.dtype, device=like.device)
    draws.exponential_(generator=inputs.generator)
    # an exponential draw may round to zero, whose logarithm would make every score infinite
    return -draws.clamp_min(torch.finfo(like.dtype).tiny).log()
