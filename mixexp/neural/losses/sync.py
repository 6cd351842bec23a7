"""Statistics of the global batch: sums over the processes of a data-parallel training."""

from __future__ import annotations

from dataclasses import fields

import torch
import torch.distributed as dist
from torch import Tensor

from ..checks import check_option
from ..routing import RoutingStats

CONVENTIONS = ("mean", "sum")
# Every sum has its place in the message, there or not, so that processes cannot disagree on it.
_SUMS = tuple(field.name for field in fields(RoutingStats) if not field.name.startswith("segment"))
_SCALARS = ("n_units", "entropy_sum", "z_sum", "n_dropped")


def sync_routing_stats(
    stats: RoutingStats, group: dist.ProcessGroup | None = None, *, gradients: str = "mean"
) -> RoutingStats:
    """The sums over all processes of a group: a loss of them is that of the global batch.

    Its value is the global one on every process. Its gradient flows to the process's own units
    alone, so nothing is communicated backwards, and after the processes' gradients are combined
    as ``gradients`` says it is exactly the gradient of the global loss. One all-reduce of a few
    numbers an expert carries all sums.

    Segments stay where they are: the sums within them are None.

    Parameters
    ----------
    stats : RoutingStats
        Of one layer, on this process. Every process of the group calls, with as many experts.
    group : ProcessGroup, optional
        The default group where None.
    gradients : {"mean", "sum"}
        How the training combines gradients of processes afterwards: their mean, as
        DistributedDataParallel and FSDP do, or their sum.

    Raises
    ------
    ValueError
        For an unknown convention.
    RuntimeError
        If torch.distributed was not initialised.

    References
    ----------
    Qiu et al., "Demons in the detail: on implementing load balancing loss for training
    specialized mixture-of-expert models", 2025.
    """
    check_option("gradients", gradients, CONVENTIONS)
    if not (dist.is_available() and dist.is_initialized()):
        raise RuntimeError(
            "sync_routing_stats sums over processes: call torch.distributed.init_process_group "
            "first. On a single process the statistics are global as they are."
        )
    message = _packed(stats)
    dist.all_reduce(message, group=group)
    n_processes = dist.get_world_size(group)
    factor = float(n_processes) if gradients == "mean" else 1.0
    return _unpacked(message, stats, n_processes, factor)


def _sizes(n_experts: int) -> list[int]:
    return [1 if name in _SCALARS else n_experts for name in _SUMS]


def _packed(stats: RoutingStats) -> Tensor:
    """One vector without gradient: which sums there are, then all of them, zero where not."""
    like = stats.weight_sum.detach()
    there = like.new_tensor([float(getattr(stats, name) is not None) for name in _SUMS])
    sums = []
    for name, size in zip(_SUMS, _sizes(stats.n_experts), strict=True):
        own = getattr(stats, name)
        sums.append(like.new_zeros(size) if own is None else own.detach().reshape(size).to(like))
    return torch.cat([there, *sums])


def _unpacked(
    message: Tensor, stats: RoutingStats, n_processes: int, factor: float
) -> RoutingStats:
    """Statistics with the summed values and the gradients of this process's own sums."""
    n_holders = message[: len(_SUMS)].tolist()
    totals = torch.split(message[len(_SUMS) :], _sizes(stats.n_experts))
    sums: dict[str, Tensor | None] = {}
    for name, held, total in zip(_SUMS, n_holders, totals, strict=True):
        own = getattr(stats, name)
        if held < n_processes:
            sums[name] = None  # as in `RoutingStats.merge`
            continue
        value = total.reshape(own.shape).to(own.dtype)
        # the difference is zero: it adds nothing but the gradient
        sums[name] = value + factor * (own - own.detach()) if own.requires_grad else value
    return RoutingStats(**sums)
