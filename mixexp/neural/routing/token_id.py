"""Routing by a fixed table of token ids: hashes, balanced hashes, or a table of one's own."""

from __future__ import annotations

import heapq

import torch
from torch import Tensor

from ..checks import check_k, check_option
from .assignment import Routing, from_choices
from .base import Router, RouterFlags, register_router
from .fallback import checked_ids, equal_weights, visible_choices
from .inputs import RoutingInputs

HASHES = ("random", "balanced", "modulo")


@register_router("token_id")
class TokenIdRouter(Router):
    """Each unit goes to the k experts that a table has for its token id, with equal weights.

    Nothing is learned: equal ids always go to equal experts. A hidden expert is replaced by the
    nearest visible one above it, cyclically.

    Parameters
    ----------
    dim, n_experts : int
    table : array-like of int of shape (V,) or (V, k), optional
        Experts of each id; else a table is made from the settings below.
    n_tokens : int, optional
        V, the number of ids, where no table is given.
    k : int
        Different experts an id, where no table is given.
    hash : {"random", "balanced", "modulo"}
        ``"random"`` draws experts uniformly; ``"balanced"`` gives ids in the order of falling
        frequency to the experts with the least load so far; ``"modulo"`` is the id modulo E, and
        the experts that follow.
    counts : array-like of shape (V,), optional
        Frequencies of the ids for ``"balanced"``; equal by default.
    seed : int
        Of the table that is drawn.

    Raises
    ------
    ValueError
        For a table with experts outside 0 ... E - 1 or one twice for an id, for neither table nor
        n_tokens, and, when routing, for ids outside 0 ... V - 1.

    References
    ----------
    Roller et al., "Hash layers for large sparse models", 2021; Nogueira dos Santos et al., "Memory
    augmented language models through mixture of word experts", 2023.
    """

    needs = frozenset({"token_id"})
    table: Tensor

    def __init__(
        self,
        dim: int,
        n_experts: int,
        table=None,
        *,
        n_tokens: int | None = None,
        k: int = 1,
        hash: str = "balanced",
        counts=None,
        seed: int = 0,
    ):
        super().__init__(dim, n_experts)
        if table is None:
            table = _made(n_experts, n_tokens, k, hash, counts, seed)
        self.register_buffer("table", _checked(table, n_experts))

    def flags(self, training: bool) -> RouterFlags:
        return RouterFlags(trainable=False)

    def route(self, inputs: RoutingInputs) -> Routing:
        ids = checked_ids(inputs, "token_id", len(self.table), type(self).__name__)
        expert, seen = visible_choices(inputs, self.table[ids], self.n_experts)
        weight = equal_weights(inputs, expert, seen)
        return from_choices(inputs, self.n_experts, expert, weight, keep=seen)


def _made(n_experts, n_tokens, k, how, counts, seed) -> Tensor:
    """A table of shape (V, k)."""
    check_option("hash", how, HASHES)
    if n_tokens is None or n_tokens < 1:
        raise ValueError(
            f"TokenIdRouter needs a table, or n_tokens, the number of ids; got n_tokens={n_tokens}."
        )
    check_k(k, n_experts)
    if how == "modulo":
        return (torch.arange(n_tokens)[:, None] + torch.arange(k)) % n_experts
    source = torch.Generator().manual_seed(seed)
    if how == "random":
        return torch.rand(n_tokens, n_experts, generator=source).argsort(1)[:, :k]
    frequency = torch.ones(n_tokens) if counts is None else torch.as_tensor(counts)
    if frequency.shape != (n_tokens,) or bool((frequency < 0).any()):
        raise ValueError(
            f"counts must be {n_tokens} frequencies of at least 0; got shape "
            f"{tuple(frequency.shape)}."
        )
    return balanced_table(frequency.double(), n_experts, k, source)


def balanced_table(frequency: Tensor, n_experts: int, k: int, source: torch.Generator) -> Tensor:
    """Experts of each id so that expected loads are even, shape (V, k).

    Ids in the order of falling frequency, equal ones in random order, each to the k experts with
    the least load so far.
    """
    mixed = torch.randperm(len(frequency), generator=source)
    order = mixed[torch.argsort(frequency[mixed], descending=True, stable=True)]
    load = [(0.0, expert) for expert in range(n_experts)]
    table = torch.empty(len(frequency), k, dtype=torch.long)
    for token, weight in zip(order.tolist(), frequency[order].tolist(), strict=True):
        lightest = [heapq.heappop(load) for _ in range(k)]
        table[token] = torch.tensor([expert for _, expert in lightest])
        for filled, expert in lightest:
            heapq.heappush(load, (filled + weight, expert))
    return table


def _checked(table, n_experts: int) -> Tensor:
    """The table as integers of shape (V, k)."""
    table = torch.as_tensor(table)
    table = table[:, None] if table.ndim == 1 else table
    if table.ndim != 2 or not table.numel() or table.is_floating_point():
        raise ValueError(
            f"table must hold an expert, or k experts, for each id; got {table.dtype} of shape "
            f"{tuple(table.shape)}."
        )
    table = table.long()
    if int(table.min()) < 0 or int(table.max()) >= n_experts:
        raise ValueError(
            f"table must hold experts from 0 to {n_experts - 1}; got {int(table.min())} to "
            f"{int(table.max())}."
        )
    ordered = table.sort(1).values
    twice = (ordered[:, 1:] == ordered[:, :-1]).any(1)
    if twice.any():
        raise ValueError(
            f"table has an expert twice for id {int(twice.nonzero()[0, 0])}; give different ones."
        )
    return table
