"""Selections of experts from scores: pure functions, ties broken by the expert's index."""

from __future__ import annotations

import torch
from torch import Tensor


def top_k(scores: Tensor, k: int) -> Tensor:
    """The k largest of each row, best first, the lower index first among equals; shape (T, k).

    `torch.topk` leaves the order of equals open, and devices differ. A stable sort is exact; on
    the CPU it is done by one sort of integers that hold score and index.
    """
    scores = scores.detach()
    if k == 1:
        return scores.max(1, keepdim=True).indices  # of the first maximum, as documented
    if scores.dtype == torch.float32 and reads_as_numpy(scores) and scores.numel():
        return _top_k_by_keys(scores, k)
    return torch.sort(scores, dim=1, descending=True, stable=True).indices[:, :k]


def _top_k_by_keys(scores: Tensor, k: int) -> Tensor:
    """Top-k of float32 scores: the order of floats as integers, the index in the lower half."""
    n = scores.shape[1]
    bits = (scores + 0.0).view(torch.int32)  # minus zero becomes zero
    # of negative numbers all bits but the sign are turned: larger magnitudes come first
    bits ^= (bits >> 31) & 0x7FFFFFFF
    keys = bits.to(torch.int64)
    keys <<= 32
    keys |= torch.arange(n - 1, -1, -1, device=keys.device)
    ordered = keys.numpy()
    if n > 256 and k < n // 4:
        ordered.partition(n - k, axis=1)
        ordered = ordered[:, n - k :].copy()
    ordered.sort(axis=1)
    best = torch.from_numpy(ordered)[:, -k:].flip(1)
    return (n - 1) - (best & 0xFFFFFFFF)


def stable_order(index: Tensor, n: int) -> Tensor:
    """Positions that sort integers from 0 to n - 1, equals in their order."""
    if n <= 2**15 and reads_as_numpy(index):
        # a radix sort: ten times faster than by comparisons
        return torch.from_numpy(index.to(torch.int16).numpy().argsort(kind="stable"))
    return torch.argsort(index, stable=True)


def count(index: Tensor, n: int) -> Tensor:
    """How often each integer from 0 to n - 1 occurs, shape (n,), int64."""
    if reads_as_numpy(index):
        return torch.bincount(index, minlength=n)
    # of known shape, for compilers, and without waiting for a device
    zeros = torch.zeros(n, dtype=torch.int64, device=index.device)
    return zeros.index_add(0, index, torch.ones_like(index))


def reads_as_numpy(tensor: Tensor) -> bool:
    """Whether a detached tensor is plain memory: on the CPU, not traced, not transformed."""
    return (
        tensor.device.type == "cpu"
        and type(tensor) is Tensor
        and not torch.compiler.is_compiling()
        and not torch._C._are_functorch_transforms_active()
    )


def place_in_group(group: Tensor, order: Tensor) -> Tensor:
    """Place of each item among those of its group, 0 first, when items stand in this order.

    Parameters
    ----------
    group : LongTensor of shape (N,)
        From 0 on.
    order : LongTensor of shape (N,)
        Items, first to last.
    """
    by_group = order[torch.argsort(group[order], stable=True)]
    size = torch.bincount(group)
    start = torch.cumsum(size, 0) - size
    index = torch.arange(len(group), device=group.device)
    return torch.empty_like(index).index_copy(0, by_group, index - start[group[by_group]])
