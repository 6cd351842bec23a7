"""Losses that balance the load of experts: functions of additive statistics."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from ..checks import check_option
from ..routing import RoutingStats

SCOPES = ("sequence", "micro", "global", "buffer")


def load_balancing_loss(
    stats: RoutingStats,
    scope: str = "micro",
    *,
    groups: Sequence[int] | Tensor | None = None,
) -> Tensor:
    """``E sum_e f_e P_e``: one at perfect balance, E when all units choose one expert surely.

    f is the share of choices that went to each expert (detached), P the mean probability. Give
    the statistics of one layer; several layers have one loss each.

    Parameters
    ----------
    stats : RoutingStats
        Sums over the rows of the scope: of the micro-batch as the layer returned them, merged
        over accumulated micro-batches (``"buffer"``), or summed over processes (``"global"``, see
        `sync_routing_stats`).
    scope : {"sequence", "micro", "global", "buffer"}
        ``"sequence"`` forms the loss within each segment and takes the mean weighted by units;
        the other three differ only in the statistics that are given.
    groups : sequence of int of length E, optional
        Group of each expert, such as its device. The loss then balances groups and leaves their
        members alone: ``sum_g (E / E_g) F_g P_g`` with sums F and P over the E_g members.

    Raises
    ------
    ValueError
        For an unknown scope, a router without probabilities, ``"sequence"`` without segments, and
        groups of another number of experts.

    References
    ----------
    Fedus, Zoph and Shazeer, "Switch Transformers", 2022, equation 4; Dai et al., "DeepSeekMoE",
    2024, equations 12 to 17, for experts and groups; Qiu et al., "Demons in the detail", 2025,
    for the scopes.
    """
    check_option("scope", scope, SCOPES)
    prob_sum = needed(stats, "prob_sum", "load-balancing loss")
    if scope != "sequence":
        return _balance(stats.counts, prob_sum, stats.n_units, groups)
    if stats.segment_prob_sum is None:
        raise ValueError(
            'scope="sequence" needs segments: pass segment=... to the layer, and give the '
            "statistics as they were before `sync_routing_stats`."
        )
    units: Tensor = stats.segment_units
    each = _balance(stats.segment_counts, stats.segment_prob_sum, units, groups)
    return (each * units).sum() / units.sum().clamp_min(1.0)


def importance_loss(stats: RoutingStats) -> Tensor:
    """Squared coefficient of variation of the experts' summed weights: zero at perfect balance.

    It is ``E - 1`` when one expert has all the weight. Balanced weights need not be balanced
    counts: few units of large weight are as important as many of small weight.

    Parameters
    ----------
    stats : RoutingStats
        Of one layer.

    References
    ----------
    Shazeer et al., "Outrageously large neural networks", 2017, equations 6 and 7.
    """
    return squared_variation(stats.weight_sum)


def load_loss(stats: RoutingStats) -> Tensor:
    """Squared coefficient of variation of the smooth load: zero at perfect balance.

    The smooth load is the expected number of units of each expert over the router's noise.

    Parameters
    ----------
    stats : RoutingStats
        Of one layer whose router estimates its load, as noisy top-k routers do.

    Raises
    ------
    ValueError
        If the router has no smooth load.

    References
    ----------
    Shazeer et al., "Outrageously large neural networks", 2017, equations 8 to 11.
    """
    return squared_variation(needed(stats, "load_sum", "load loss"))


def parameter_penalty_loss(stats: RoutingStats, cost: Sequence[float] | Tensor) -> Tensor:
    """``E sum_e (c_e / mean c) f_e P_e``: a balance loss that prefers cheap experts.

    With equal costs it is `load_balancing_loss`. The published penalty counts choices per unit
    instead of shares of choices, and is larger by the mean number of experts a unit.

    Parameters
    ----------
    stats : RoutingStats
        Of one layer.
    cost : sequence of float of length E
        Cost of each expert, such as its number of parameters; positive.

    Raises
    ------
    ValueError
        For a router without probabilities, and for costs that are not E positive numbers.

    References
    ----------
    Wang et al., "HMoE: heterogeneous mixture of experts for language modeling", 2024.
    """
    prob_sum = needed(stats, "prob_sum", "parameter penalty")
    costs = torch.as_tensor(cost, dtype=prob_sum.dtype, device=prob_sum.device)
    if costs.shape != prob_sum.shape or not bool((costs > 0).all()):
        raise ValueError(
            f"cost needs one positive number for each of {stats.n_experts} experts; got {cost}."
        )
    share, mean = _shares(stats.counts, prob_sum, stats.n_units)
    return stats.n_experts * (costs / costs.mean() * share * mean).sum()


def squared_variation(sums: Tensor) -> Tensor:
    """Population variance over squared mean of E sums; zero where all are zero."""
    mean = sums.mean()
    variance = (sums - mean).square().mean()
    return variance / mean.square().clamp_min(torch.finfo(sums.dtype).tiny)


def needed(stats: RoutingStats, name: str, loss: str) -> Tensor:
    """A sum that a loss is formed from, or an error that names what the router lacks."""
    if not isinstance(stats, RoutingStats):
        raise TypeError(
            f"the {loss} is formed from the RoutingStats of one layer; got "
            f"{type(stats).__name__}. Of a RoutingTrace take each of trace.stats."
        )
    value = getattr(stats, name)
    if value is None:
        raise ValueError(
            f"the statistics have no {name}, and so no {loss}: this router does not compute it. "
            "Choose a router that does, or leave the loss out."
        )
    return value


def _shares(counts: Tensor, prob_sum: Tensor, n_units: Tensor) -> tuple[Tensor, Tensor]:
    """Shares of choices, without gradient, and mean probabilities, along the last axis."""
    counts = counts.detach()
    share = counts / counts.sum(-1, keepdim=True).clamp_min(1.0)
    return share, prob_sum / n_units.clamp_min(1.0)[..., None]


def _balance(counts: Tensor, prob_sum: Tensor, n_units: Tensor, groups) -> Tensor:
    """The loss along the last axis; zero where no unit was routed."""
    n_experts = counts.shape[-1]
    share, mean = _shares(counts, prob_sum, n_units)
    if groups is None:
        return n_experts * (share * mean).sum(-1)
    group = torch.as_tensor(groups, device=counts.device)
    if group.shape != (n_experts,):
        raise ValueError(
            f"groups needs the group of each of {n_experts} experts; got shape "
            f"{tuple(group.shape)}."
        )
    names, place, size = torch.unique(group, return_inverse=True, return_counts=True)
    empty = share.new_zeros(*share.shape[:-1], len(names))
    of_group, mass = (empty.index_add(-1, place, value) for value in (share, mean))
    return (n_experts / size * of_group * mass).sum(-1)
