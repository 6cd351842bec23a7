"""`MaskedRouter`: how many experts a unit sees depends on its token."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from .assignment import Routing
from .base import Router, RouterFlags, register_router
from .fallback import checked_ids
from .inputs import RoutingInputs
from .wrapper import RouterWrapper


@register_router("masked")
class MaskedRouter(RouterWrapper):
    """A router that sees, of each token, only the first experts of the token's own list.

    Every token id has an order of the experts, drawn once. A rare token that sees one expert is
    learned by it alone, instead of a little by each; with one expert for all tokens the router is
    a hash table, with all experts it is the base.

    Parameters
    ----------
    base : Router
    n_visible : sequence of int of length V
        Number of experts that each token id sees, from 1 to E. See `visible_by_frequency`.
    seed : int
        Of the lists. Give each layer its own.

    Raises
    ------
    ValueError
        For numbers outside 1 ... E, and for token ids without a list.

    Notes
    -----
    Experts hidden by ``RoutingInputs.visible`` are skipped: the next ones of the list take their
    places.

    References
    ----------
    Su et al., "MaskMoE: boosting token-level learning via routing mask in mixture-of-experts",
    2024.
    """

    def __init__(self, base: Router, n_visible: Sequence[int] | Tensor, *, seed: int = 0):
        super().__init__(base, ("token_id",))
        sizes = torch.as_tensor(n_visible)
        if sizes.ndim != 1 or not bool(((sizes >= 1) & (sizes <= self.n_experts)).all()):
            raise ValueError(
                f"n_visible needs a number from 1 to {self.n_experts} for each token id; got "
                f"shape {tuple(sizes.shape)} with values {sorted(set(sizes.flatten().tolist()))}."
            )
        source = torch.Generator().manual_seed(seed)
        order = torch.rand(len(sizes), self.n_experts, generator=source).argsort(1)
        self.register_buffer("n_visible", sizes.long())
        self.register_buffer("order", order)

    def flags(self, training: bool) -> RouterFlags:
        flags = self.base.flags(training)
        most = getattr(self.base, "k", self.n_experts)
        sizes = self.n_visible.clamp_max(most)
        # the probability of the only expert in sight is one
        alone = bool((self.n_visible == 1).all())
        fixed = alone and getattr(self.base, "activation", None) == "softmax"
        return flags.but(
            trainable=flags.trainable and not fixed,
            variable_k=flags.variable_k or bool((sizes != sizes[:1]).any()),
        )

    def route(self, inputs: RoutingInputs) -> Routing:
        return self.base(inputs.replace(visible=self.visible(inputs)))

    def visible(self, inputs: RoutingInputs) -> Tensor:
        """Experts that each unit sees, BoolTensor of shape (T, E)."""
        token = checked_ids(inputs, "token_id", len(self.order), type(self).__name__)
        order, size = self.order[token], self.n_visible[token]
        open_ = torch.ones_like(order, dtype=torch.bool)
        if inputs.visible is not None:
            open_ = inputs.visible.expand_as(order).gather(1, order)
        first = open_ & (open_.cumsum(1) <= size[:, None])
        return torch.zeros_like(first).scatter(1, order, first)


def visible_by_frequency(
    token_counts: Sequence[int] | Tensor,
    *,
    rare_fraction: float = 0.4,
    n_rare: int = 1,
    n_frequent: int,
) -> Tensor:
    """Numbers of visible experts for `MaskedRouter`: few for rare token ids, many for frequent.

    Parameters
    ----------
    token_counts : sequence of int of length V
        How often each token id occurs in the training text.
    rare_fraction : float
        Share of the V ids, those of lowest counts, that count as rare.
    n_rare, n_frequent : int

    Returns
    -------
    LongTensor of shape (V,)
    """
    if not 0 <= rare_fraction <= 1:
        raise ValueError(f"rare_fraction must be from 0 to 1; got {rare_fraction}.")
    counts = torch.as_tensor(token_counts)
    rare = torch.sort(counts, stable=True).indices[: round(rare_fraction * len(counts))]
    return torch.full((len(counts),), n_frequent).index_fill(0, rare, n_rare)
