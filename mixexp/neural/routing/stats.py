"""`RoutingStats`: additive sums over routed units, from which every balance loss is formed."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace

import torch
from torch import Tensor

from .select import count


@dataclass(frozen=True, eq=False)
class RoutingStats:
    """Sums over the routed units of one layer. Parts add up to the whole.

    A loss over a sequence, a micro-batch or the global batch is the same function of sums over
    different rows, so the scope of a loss is a choice of what is added up.

    Parameters
    ----------
    n_units : Tensor of shape ()
        Routed units, padding left out.
    counts : Tensor of shape (E,)
        Units that chose each expert, k of them for each unit; no gradient.
    first_counts : Tensor of shape (E,)
        The same for first choices.
    weight_sum : Tensor of shape (E,)
        Sum of the combine weights, with gradient.
    prob_sum : Tensor of shape (E,) or None
        Sum of the router's probabilities, with gradient; None for a router that has none.
    entropy_sum, z_sum : Tensor of shape () or None
        Sums of the probabilities' entropies and of squared log-partition functions.
    load_sum : Tensor of shape (E,) or None
        Smooth estimate of the counts, where a router has one.
    n_dropped : Tensor of shape ()
        Pairs that a capacity limit removed.
    segment : LongTensor of shape (B,) or None
        The segments, where they were given; the sums below are within them.
    segment_units : Tensor of shape (B,)
    segment_counts, segment_prob_sum : Tensor of shape (B, E)
    """

    n_units: Tensor
    counts: Tensor
    first_counts: Tensor
    weight_sum: Tensor
    prob_sum: Tensor | None = None
    entropy_sum: Tensor | None = None
    z_sum: Tensor | None = None
    load_sum: Tensor | None = None
    n_dropped: Tensor | None = None
    segment: Tensor | None = None
    segment_units: Tensor | None = None
    segment_counts: Tensor | None = None
    segment_prob_sum: Tensor | None = None

    @property
    def n_experts(self) -> int:
        """E, the number of experts."""
        return len(self.counts)

    def merge(self, other: RoutingStats) -> RoutingStats:
        """Sums over both sets of units; segments of the same number are one segment."""
        if self.n_experts != other.n_experts:
            raise ValueError(
                f"statistics of {self.n_experts} and of {other.n_experts} experts do not add."
            )
        merged = {}
        for field in fields(self):
            a, b = getattr(self, field.name), getattr(other, field.name)
            if not field.name.startswith("segment"):
                merged[field.name] = None if a is None or b is None else a + b
        return RoutingStats(**merged, **_merged_segments(self, other))

    def detach(self) -> RoutingStats:
        """The same sums without gradient."""
        held = {f.name: getattr(self, f.name) for f in fields(self)}
        return RoutingStats(**{n: None if t is None else t.detach() for n, t in held.items()})

    def replace(self, **changes) -> RoutingStats:
        """The same sums with some exchanged."""
        return replace(self, **changes)


def _merged_segments(a: RoutingStats, b: RoutingStats) -> dict[str, Tensor]:
    """The sums within segments, over both; nothing where one has no segments."""
    if a.segment is None or b.segment is None:
        return {}
    assert a.segment is not None and b.segment is not None
    ids, place = torch.unique(torch.cat([a.segment, b.segment]), return_inverse=True)
    merged = {"segment": ids}
    for name in ("segment_units", "segment_counts", "segment_prob_sum"):
        first, second = getattr(a, name), getattr(b, name)
        if first is not None and second is not None:
            both = torch.cat([first, second])
            merged[name] = both.new_zeros(len(ids), *both.shape[1:]).index_add(0, place, both)
    return merged


def collect(
    n_experts: int,
    unit: Tensor,
    expert: Tensor,
    weight: Tensor,
    first: Tensor,
    *,
    n_units: int,
    valid: Tensor | None = None,
    segment: Tensor | None = None,
    probs: Tensor | None = None,
    logits: Tensor | None = None,
) -> RoutingStats:
    """Statistics of N chosen pairs over T units.

    Parameters
    ----------
    unit, expert, weight, first : Tensor of shape (N,)
        The pairs, their weights, and whether the pair is its unit's first choice.
    valid, segment : Tensor of shape (T,), optional
    probs, logits : Tensor of shape (T, E), optional
    """
    dtype = weight.dtype
    zeros = weight.new_zeros(n_experts)
    sums = {
        "counts": count(expert, n_experts).to(dtype),
        "first_counts": zeros.index_add(0, expert, first.to(dtype)),
        "weight_sum": zeros.index_add(0, expert, weight),
        "n_dropped": weight.new_zeros(()),
    }
    counted = None if valid is None else valid.to(dtype)
    number = weight.new_full((), n_units) if counted is None else counted.sum()
    if probs is not None:
        sums |= _sums_of_probabilities(probs, logits, valid)
    # how many segments there are depends on data, which an exported program cannot hold; losses
    # are of training, and no exported program has any
    if segment is not None and not torch.compiler.is_exporting():
        sums |= _sums_within_segments(n_experts, unit, expert, segment, counted, probs, weight)
    return RoutingStats(n_units=number, **sums)


def _sums_of_probabilities(probs: Tensor, logits: Tensor | None, valid: Tensor | None):
    """Sums of probabilities, entropies and squared log-partition functions over valid units."""
    if valid is not None:
        probs = probs[valid]
        logits = None if logits is None else logits[valid]
    # ten times faster than torch.special.entr, and without its infinite derivative at zero
    logs = probs.clamp_min(torch.finfo(probs.dtype).tiny).log()
    entropy = -torch.dot(probs.reshape(-1), logs.reshape(-1))
    sums = {"prob_sum": probs.sum(0), "entropy_sum": entropy}
    if logits is not None:
        sums["z_sum"] = torch.logsumexp(logits, -1).square().sum()
    return sums


def _sums_within_segments(n_experts, unit, expert, segment, counted, probs, weight):
    """The sums that a loss per sequence needs."""
    # padding may carry segment numbers of its own; a segment without units adds nothing
    ids, place = torch.unique(segment, return_inverse=True)
    each = torch.ones_like(place, dtype=weight.dtype) if counted is None else counted
    pairs = weight.new_zeros(len(ids) * n_experts)
    pairs = pairs.index_add(0, place[unit] * n_experts + expert, torch.ones_like(weight).detach())
    sums = {
        "segment": ids,
        "segment_units": weight.new_zeros(len(ids)).index_add(0, place, each),
        "segment_counts": pairs.view(len(ids), n_experts),
    }
    if probs is not None:
        shares = probs if counted is None else torch.where(counted.bool()[:, None], probs, 0.0)
        sums["segment_prob_sum"] = weight.new_zeros(len(ids), n_experts).index_add(0, place, shares)
    return sums
