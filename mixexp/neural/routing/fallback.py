"""Fixed choices under a mask: the next visible expert stands in for a hidden one."""

from __future__ import annotations

import torch
from torch import Tensor

from .inputs import RoutingInputs
from .select import top_k


def visible_choices(
    inputs: RoutingInputs, expert: Tensor, n_experts: int
) -> tuple[Tensor, Tensor | None]:
    """Choices of shape (T, k) that are visible, as (experts, whether there is one).

    Wanted experts that are hidden are replaced by the nearest visible ones above the first wanted
    expert, counted cyclically, so that equal wishes under equal masks end alike. Without a mask
    nothing of shape (T, E) is made.
    """
    if inputs.visible is None:
        return expert, None
    k = expert.shape[1]
    places = torch.arange(n_experts, device=expert.device)
    score = -(k + (places - expert[:, :1]) % n_experts)
    score = score.scatter(1, expert, -torch.arange(k, device=expert.device).expand_as(expert))
    score = score.to(inputs.x.dtype).masked_fill(~inputs.visible, -torch.inf)
    chosen = top_k(score, k)
    return chosen, score.gather(1, chosen) > -torch.inf


def equal_weights(inputs: RoutingInputs, expert: Tensor, seen: Tensor | None) -> Tensor:
    """Weights of shape (T, k) that are equal over the choices of a unit and sum to one."""
    ones = torch.ones(expert.shape, dtype=inputs.x.dtype, device=expert.device)
    if seen is None:
        return ones / max(expert.shape[1], 1)
    return ones / seen.sum(1, keepdim=True).clamp_min(1)


def checked_ids(inputs: RoutingInputs, name: str, limit: int, who: str) -> Tensor:
    """Ids of the units, zero at padding; an error by name where one is outside 0 ... limit - 1."""
    ids: Tensor = getattr(inputs, name)
    if inputs.valid is not None:
        ids = torch.where(inputs.valid, ids, 0)
    if len(ids) and not (0 <= int(ids.min()) and int(ids.max()) < limit):
        raise ValueError(
            f"{who} knows {name} from 0 to {limit - 1}; got {int(ids.min())} to {int(ids.max())}. "
            f"Build it for more ids, or map unknown ones to a known id."
        )
    return ids
