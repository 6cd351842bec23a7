"""Banks of different kinds behind one router, and lists of arbitrary modules as a bank."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import accumulate, pairwise

import torch
from torch import Tensor, nn

from ..routing import Routing
from .base import ExpertBank
from .mixing import split_rows


class BankList(ExpertBank):
    """Several banks as one: the experts of the first, then those of the second, and so on.

    Every bank computes in its own fast way; rows for `ZeroExperts` are not even gathered.

    Parameters
    ----------
    banks : iterable of ExpertBank
        Of the same widths.

    Raises
    ------
    ValueError
        For no bank, or banks of different widths.

    Examples
    --------
    >>> from mixexp.neural import BankList, CopyExperts, FeedForwardExperts, ZeroExperts
    >>> bank = BankList([FeedForwardExperts(6, 16, 32), ZeroExperts(1, 16), CopyExperts(1, 16)])
    >>> bank.n_experts, int(bank.null.sum()), bank.cost[-2:].tolist()
    (8, 1, [0.0, 0.0])
    """

    def __init__(self, banks: Iterable[ExpertBank]):
        banks = list(banks)
        widths = {(bank.dim, bank.out_dim) for bank in banks}
        if len(widths) != 1:
            raise ValueError(
                "BankList needs banks of one width in and out; got (dim, out_dim) = "
                f"{sorted(widths)}."
            )
        ((dim, out_dim),) = widths
        super().__init__(sum(bank.n_experts for bank in banks), dim, out_dim)
        self.banks = nn.ModuleList(banks)

    @property
    def cost(self) -> Tensor:
        return torch.cat([bank.cost for bank in self.banks])

    @property
    def null(self) -> Tensor:
        return torch.cat([bank.null for bank in self.banks])

    @property
    def has_null(self) -> bool:
        return any(bank.has_null for bank in self.banks)

    def forward(self, rows: Tensor, counts: list[int]) -> Tensor:
        own = [counts[first:last] for first, last in self._ranges()]
        parts = split_rows(rows, [sum(part) for part in own])
        outputs = [bank(part, n) for bank, part, n in zip(self.banks, parts, own)]
        return torch.cat(outputs)

    def mix(self, x: Tensor, routing: Routing) -> Tensor:
        if routing.slot_expert is not None:
            return super().mix(x, routing)
        ends = routing.counts.cumsum(0).tolist()
        total = x.new_zeros(routing.n_units, self.out_dim)
        for bank, (first, last) in zip(self.banks, self._ranges()):
            span = slice(ends[first - 1] if first else 0, ends[last - 1])
            if not bool(bank.null.all()):
                total = total + bank.mix(x, _part(routing, span, first, bank.n_experts))
        return total

    def _ranges(self):
        """First expert of each bank, and the first one after it."""
        return pairwise(accumulate((bank.n_experts for bank in self.banks), initial=0))


def _part(routing: Routing, span: slice, first: int, n_experts: int) -> Routing:
    """The pairs of some neighbouring experts as a routing over these alone."""
    return routing.replace(
        unit=routing.unit[span],
        slot=routing.slot[span] - first,
        weight=routing.weight[span],
        n_experts=n_experts,
        by_unit=None,
        logits=None,
        probs=None,
        **routing.taken(span, "dispatch", "rank", "priority"),
    )


class ModuleExperts(ExpertBank):
    """Any modules as experts, each called with its rows; those without rows are not called.

    Parameters
    ----------
    modules : iterable of nn.Module
        Each maps (n, dim) to (n, out_dim).
    dim : int
    out_dim : int, optional
        Width of the output; ``dim`` by default.

    Raises
    ------
    ValueError
        If a module gives another shape.
    """

    def __init__(self, modules: Iterable[nn.Module], dim: int, *, out_dim: int | None = None):
        modules = list(modules)
        super().__init__(len(modules), dim, dim if out_dim is None else out_dim)
        self.each = nn.ModuleList(modules)

    @property
    def cost(self) -> Tensor:
        numbers = [sum(p.numel() for p in module.parameters()) for module in self.each]
        return torch.tensor([float(n) for n in numbers])

    def forward(self, rows: Tensor, counts: list[int]) -> Tensor:
        outputs = []
        for e, part in enumerate(split_rows(rows, counts)):
            if not len(part):
                continue
            out = self.each[e](part)
            if out.shape != (len(part), self.out_dim):
                raise ValueError(
                    f"expert {e} of ModuleExperts gave shape {tuple(out.shape)} for "
                    f"{len(part)} rows; needed {(len(part), self.out_dim)}. Give out_dim=."
                )
            outputs.append(out)
        return torch.cat(outputs) if outputs else rows.new_zeros(0, self.out_dim)
