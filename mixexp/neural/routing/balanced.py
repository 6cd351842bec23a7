"""Balanced assignments of units to experts: transport plans, and matching with two limits."""

from __future__ import annotations

import torch
from torch import Tensor


def sinkhorn(
    scores: Tensor, *, sharpness: float = 2.0, n_iter: int = 100, tol: float = 1e-4
) -> Tensor:
    """The plan ``exp(sharpness * scores)``, scaled so that rows sum to 1 and columns to T / E.

    Computed in logarithms, so that it is finite for any finite scores.

    Parameters
    ----------
    scores : Tensor of shape (T, E)
        Minus infinity where a unit may not have an expert. Columns without any unit stay zero,
        and the others share the units; where zeros allow no balance, the last step is returned.
    tol : float
        Largest relative error of a column sum at which the iteration ends.
    """
    log_plan = sharpness * scores.detach()
    if not log_plan.numel():
        return log_plan
    open_columns = (log_plan > -torch.inf).any(0)
    target = torch.log(log_plan.new_tensor(len(log_plan) / max(1, int(open_columns.sum()))))
    for _ in range(n_iter):
        log_plan = log_plan - torch.logsumexp(log_plan, 1, keepdim=True)
        excess = torch.where(open_columns, torch.logsumexp(log_plan, 0) - target, 0.0)
        if excess.abs().max() < tol:
            break
        log_plan = log_plan - excess
    return torch.softmax(log_plan, 1)


def stable_assignment(preference: Tensor, size: Tensor, cap: int) -> Tensor:
    """Deferred acceptance: experts ask the units they prefer, units keep the ``cap`` best offers.

    No expert gets more than ``size`` units and no unit more than ``cap`` experts; a place stays
    empty only if every unit that an expert may have is full. Ties go to the first unit and expert.

    Parameters
    ----------
    preference : Tensor of shape (..., T, E)
        Minus infinity where a unit may not have an expert.
    size : Tensor of shape (..., E)

    Returns
    -------
    BoolTensor of shape (..., T, E)
    """
    wish = preference.detach().clone()
    while True:
        offered = (order_of(wish, -2) < size.unsqueeze(-2)) & (wish > -torch.inf)
        kept = offered & (order_of(torch.where(offered, preference, -torch.inf), -1) < cap)
        refused = offered & ~kept
        if not refused.any():
            return kept
        wish = wish.masked_fill(refused, -torch.inf)


def order_of(scores: Tensor, dim: int) -> Tensor:
    """Place of each entry along an axis when sorted in descending order, ties in their order."""
    order = torch.argsort(scores, dim=dim, descending=True, stable=True)
    shape = [1] * scores.ndim
    shape[dim] = scores.shape[dim]
    places = torch.arange(scores.shape[dim], device=scores.device).view(shape)
    return torch.empty_like(order).scatter_(dim, order, places.expand_as(order))
