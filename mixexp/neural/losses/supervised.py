"""Losses of routings and outputs that are no sums of statistics: known experts, equal passes."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from ..routing import Routing
from ..routing.inputs import routing_precision


def supervised_routing_loss(
    routing: Routing, expert: Tensor, *, valid: Tensor | None = None
) -> Tensor:
    """Mean cross-entropy of the router's scores with experts that are known.

    Parameters
    ----------
    routing : Routing
        Of one layer.
    expert : LongTensor of shape (T,)
        The expert that each unit should go to; a negative number where it is not known.
    valid : BoolTensor of shape (T,), optional
        False marks padding.

    Returns
    -------
    Tensor of shape ()
        Zero where no expert is known.

    Raises
    ------
    ValueError
        For a router without scores, numbers that are no expert, and experts that are hidden from
        a unit that should go to them.
    """
    if routing.logits is None:
        raise ValueError("the router has no scores to supervise; choose one with logits.")
    if expert.shape != (routing.n_units,):
        raise ValueError(
            f"expert needs one entry for each of {routing.n_units} units; got shape "
            f"{tuple(expert.shape)}."
        )
    known = expert >= 0 if valid is None else (expert >= 0) & valid
    logits, label = routing.logits[known], expert[known]
    if bool((label >= routing.n_experts).any()):
        raise ValueError(
            f"the experts are 0 to {routing.n_experts - 1}; got {int(label.max())} among the "
            "known ones."
        )
    if bool((logits.gather(1, label[:, None]) == -torch.inf).any()):
        raise ValueError(
            "some units are labelled with an expert that is hidden from them: show it by "
            "visible=..., or mark these units as unknown by -1."
        )
    return F.cross_entropy(logits, label, reduction="sum") / max(len(label), 1)


def consistency_loss(first: Tensor, second: Tensor, *, valid: Tensor | None = None) -> Tensor:
    """Mean symmetric Kullback-Leibler divergence of the predictions of two passes.

    ``(KL(p || q) + KL(q || p)) / 2``, zero when the passes agree. Both get gradients.

    Parameters
    ----------
    first, second : Tensor of shape (..., n_classes)
        Logits of the same rows in two passes, with different experts or other noise.
    valid : BoolTensor of shape (...), optional
        False marks padding.

    Raises
    ------
    ValueError
        For passes of different shapes.

    References
    ----------
    Zuo et al., "Taming sparsely activated transformer with stochastic experts", 2022.
    """
    if first.shape != second.shape:
        raise ValueError(
            "both passes need the same rows and classes; got shapes "
            f"{tuple(first.shape)} and {tuple(second.shape)}."
        )
    p, q = (torch.log_softmax(routing_precision(logits), -1) for logits in (first, second))
    each = ((p.exp() - q.exp()) * (p - q)).sum(-1) / 2
    if valid is None:
        return each.sum() / max(each.numel(), 1)
    return torch.where(valid, each, 0.0).sum() / valid.sum().clamp_min(1)
