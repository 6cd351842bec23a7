"""Product keys: the k best of up to millions of experts, found without scoring them all."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..checks import check_k, check_option
from .assignment import Routing, from_choices
from .base import Router, RouterFlags, register_router
from .inputs import RoutingInputs
from .scores import ACTIVATIONS, LinearScore, activate
from .select import top_k

# scores formed at once where experts are hidden and all must be looked at
BLOCK = 2**22


@register_router("product_key")
class ProductKeyRouter(Router):
    """Experts in a grid of rows and columns; a query's score is that of the row plus the column.

    Each of ``n_heads`` queries ``q = (q1, q2)`` of a unit has the score
    ``<q1, row key i> + <q2, column key j>`` for expert ``i * n_columns + j``. The k best of all E
    are among the combinations of the best rows and columns, so that they are found exactly with
    about ``2 sqrt(E) + k^2`` scores and no tensor of shape (T, E) is made. Keys are common to all
    heads. Weights are the activation of the k scores of a head; an expert that several heads
    retrieve has the sum of its weights.

    A unit has at most ``n_heads * k`` experts, and a call at most T times as many pairs.

    Parameters
    ----------
    dim, n_experts : int
        E need not be a square: the last row of the grid may be shorter.
    k : int
        Experts a head retrieves.
    n_heads : int
    key_dim : int, optional
        Width of each half of a query; half of ``dim`` by default.
    score : {"softmax", "relu", "sigmoid"}
        Activation of the chosen scores; the softmax is over the k of a head.
    query_norm : bool
        Whether each half of a query is scaled to mean zero and variance one. The paper uses batch
        normalisation, under which answers depend on the batch.

    Raises
    ------
    ValueError
        For values outside these ranges, and for a softmax over a single score, which is always one.

    Notes
    -----
    There are no logits and no probabilities over all experts, and therefore no balance loss of
    probabilities; statistics are not kept by segment, which would be as large as the batch times E.
    Where experts are hidden by ``visible`` all scores are looked at, in blocks of units.

    References
    ----------
    He, "Mixture of a million experts", 2024, section 2 and algorithm 1; Lample et al., "Large
    memory layers with product keys", 2019.
    """

    def __init__(
        self,
        dim: int,
        n_experts: int,
        k: int = 16,
        *,
        n_heads: int = 8,
        key_dim: int | None = None,
        score: str = "softmax",
        query_norm: bool = False,
    ):
        super().__init__(dim, n_experts)
        check_k(k, n_experts)
        check_option("score", score, tuple(ACTIVATIONS))
        if k == 1 and n_experts > 1 and score == "softmax":
            raise ValueError(
                "with k=1 the softmax over the chosen scores is always one, and the router gets no "
                'gradient. Use score="sigmoid" or "relu".'
            )
        key_dim = max(1, dim // 2) if key_dim is None else key_dim
        if n_heads < 1 or key_dim < 1:
            raise ValueError(
                f"n_heads and key_dim must be at least 1; got {n_heads} and {key_dim}."
            )
        self.k = k
        self.n_heads = n_heads
        self.key_dim = key_dim
        self.activation = score
        self.query_norm = query_norm
        self.n_columns = math.isqrt(n_experts - 1) + 1
        self.n_rows = -(-n_experts // self.n_columns)
        self.query = LinearScore(dim, 2 * n_heads * key_dim)
        self.row_keys = nn.Parameter(torch.empty(self.n_rows, key_dim))
        self.column_keys = nn.Parameter(torch.empty(self.n_columns, key_dim))
        for keys in (self.row_keys, self.column_keys):
            nn.init.normal_(keys, std=1 / math.sqrt(key_dim))

    @property
    def flops(self) -> int:
        keys = self.row_keys.numel() + self.column_keys.numel()
        return 2 * (self.query.weight.numel() + self.n_heads * keys)

    def flags(self, training: bool) -> RouterFlags:
        return RouterFlags(variable_k=self.n_heads > 1 and self.k < self.n_experts)

    def route(self, inputs: RoutingInputs) -> Routing:
        query = self.query(inputs.x).view(-1, 2, self.key_dim)
        if self.query_norm:
            query = F.layer_norm(query, (self.key_dim,))
        by_row = F.linear(query[:, 0], self.row_keys.to(query.dtype))
        by_column = F.linear(query[:, 1], self.column_keys.to(query.dtype))
        visible = None
        if inputs.visible is None:
            expert = best_of_grid(by_row.detach(), by_column.detach(), self.n_experts, self.k)
            seen = None
        else:
            visible = inputs.visible.expand(inputs.n_units, -1)
            expert, seen = self._best_visible(by_row.detach(), by_column.detach(), visible)
        i = torch.div(expert, self.n_columns, rounding_mode="floor")
        scores = by_row.gather(1, i) + by_column.gather(1, expert - i * self.n_columns)
        weight = activate(scores, self.activation, seen)
        expert, weight, keep = merged_heads(expert, weight, seen, self.n_heads, self.n_experts)
        alone = inputs.replace(segment=None)
        return from_choices(alone, self.n_experts, expert, weight, keep=keep)

    def _best_visible(self, by_row: Tensor, by_column: Tensor, visible: Tensor):
        """The k best visible experts of each query, and whether they are visible, (T h, k)."""
        experts, seen = [], []
        step = max(1, BLOCK // self.n_experts)
        for start in range(0, len(by_row), step):
            part = slice(start, start + step)
            scores = (by_row[part, :, None] + by_column[part, None]).flatten(1)
            unit = torch.arange(len(by_row), device=by_row.device)[part] // self.n_heads
            scores = scores[:, : self.n_experts].masked_fill(~visible[unit], -torch.inf)
            experts.append(top_k(scores, self.k))
            seen.append(scores.gather(1, experts[-1]) > -torch.inf)
        if not experts:
            none = torch.zeros(0, self.k, dtype=torch.int64, device=by_row.device)
            return none, none.bool()
        return torch.cat(experts), torch.cat(seen)


def best_of_grid(by_row: Tensor, by_column: Tensor, n_experts: int, k: int) -> Tensor:
    """The k experts of largest sum of row and column score, best first, shape (N, k); exactly.

    Parameters
    ----------
    by_row, by_column : Tensor of shape (N, rows) and (N, columns)
        Expert e stands in row ``e // columns``; the last row may be incomplete.
    """
    n_columns = by_column.shape[1]
    whole = (n_experts - 1) // n_columns  # rows before the last
    parts, numbers = [], []
    if whole:
        # ascending numbers: among equal sums the first expert is found first
        i = top_k(by_row[:, :whole], min(k, whole)).sort(1).values
        j = top_k(by_column, min(k, n_columns)).sort(1).values
        sums = by_row.gather(1, i)[:, :, None] + by_column.gather(1, j)[:, None]
        parts.append(sums.flatten(1))
        numbers.append((i[:, :, None] * n_columns + j[:, None]).flatten(1))
    last = n_experts - whole * n_columns
    j = top_k(by_column[:, :last], min(k, last)).sort(1).values
    parts.append(by_row[:, whole:] + by_column.gather(1, j))
    numbers.append(whole * n_columns + j)
    return torch.cat(numbers, 1).gather(1, top_k(torch.cat(parts, 1), k))


def merged_heads(
    expert: Tensor, weight: Tensor, seen: Tensor | None, n_heads: int, n_experts: int
) -> tuple[Tensor, Tensor, Tensor | None]:
    """Choices of all heads of a unit, each expert once with the sum of its weights, largest first.

    Takes experts and weights of shape (T h, k), gives them as (T, h k), with a mask of what counts.
    """
    if n_heads == 1:
        return expert, weight, seen
    n_choices = n_heads * expert.shape[1]
    expert, weight = expert.reshape(-1, n_choices), weight.reshape(-1, n_choices)
    if seen is not None:
        # hidden choices come last, under a number that no expert has
        expert = torch.where(seen.reshape(-1, n_choices), expert, n_experts)
    ordered, order = torch.sort(expert, dim=1, stable=True)
    new = torch.ones_like(ordered, dtype=torch.bool)
    new[:, 1:] = ordered[:, 1:] != ordered[:, :-1]
    place = new.cumsum(1) - 1
    total = torch.zeros_like(weight).scatter_add(1, place, weight.gather(1, order))
    distinct = torch.full_like(ordered, n_experts).scatter(1, place, ordered)
    keep = distinct < n_experts
    best = torch.where(keep, total.detach(), -torch.inf).argsort(
        dim=1, descending=True, stable=True
    )
    keep = keep.gather(1, best)
    return torch.where(keep, distinct.gather(1, best), 0), total.gather(1, best), keep
