"""Losses that balance the load of experts: functions of additive statistics."""

from __future__ import annotations

from torch import Tensor

from ..routing import RoutingStats

SCOPES = ("sequence", "micro", "global", "buffer")


def load_balancing_loss(stats: RoutingStats, scope: str = "micro") -> Tensor:
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

    Raises
    ------
    ValueError
        For an unknown scope, a router without probabilities, and for ``"sequence"`` without
        segments.

    References
    ----------
    Fedus, Zoph and Shazeer, "Switch Transformers", 2022, equation 4; Qiu et al., "Demons in the
    detail", 2025, for the scopes.
    """
    if scope not in SCOPES:
        raise ValueError(f"scope must be one of {SCOPES}; got {scope!r}.")
    if stats.prob_sum is None:
        raise ValueError("the router has no probabilities, and so no load-balancing loss.")
    if scope != "sequence":
        return _balance(stats.counts, stats.prob_sum, stats.n_units)
    if stats.segment_prob_sum is None:
        raise ValueError('scope="sequence" needs segments: pass segment=... to the layer.')
    units: Tensor = stats.segment_units
    each = _balance(stats.segment_counts, stats.segment_prob_sum, units)
    return (each * units).sum() / units.sum().clamp_min(1.0)


def _balance(counts: Tensor, prob_sum: Tensor, n_units: Tensor) -> Tensor:
    """The loss along the last axis; zero where no unit was routed."""
    share = counts.detach() / counts.detach().sum(-1, keepdim=True).clamp_min(1.0)
    mean = prob_sum / n_units.clamp_min(1.0)[..., None]
    return counts.shape[-1] * (share * mean).sum(-1)
