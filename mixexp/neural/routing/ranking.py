"""The first steps that routers by probability share: scores, masked softmax, best experts first."""

from __future__ import annotations

from dataclasses import dataclass, replace

from torch import Tensor

from ..checks import check_k, check_option
from .assignment import Routing, from_choices
from .base import seen_logits, top_visible
from .inputs import RoutingInputs
from .scores import activate
from .top_k import NORMALISATIONS, normalised, null_among


@dataclass(frozen=True, eq=False)
class Ranking:
    """The k most probable experts of each unit, best first.

    Parameters
    ----------
    logits, probs : Tensor of shape (T, E)
        Scores before any mask, and their softmax over visible experts.
    expert : LongTensor of shape (T, k)
    weight : Tensor of shape (T, k)
        Probabilities of these experts, differentiable.
    seen : BoolTensor of shape (T, k) or None
        Whether the expert is visible; None where all are.
    """

    logits: Tensor
    probs: Tensor
    expert: Tensor
    weight: Tensor
    seen: Tensor | None

    def keep(self, chosen: Tensor) -> Tensor:
        """``chosen``, of shape (T, k), at visible experts alone."""
        return chosen if self.seen is None else chosen & self.seen

    def normalised(self, inputs: RoutingInputs, keep: Tensor, how: str | None) -> Tensor:
        """Weights of shape (T, k), divided by the sum of the kept ones as asked."""
        return normalised(self.weight, how, keep, null_among(inputs, self.expert))

    def replace(self, **changes) -> Ranking:
        """The same ranking with some fields exchanged."""
        return replace(self, **changes)

    def routing(
        self, inputs: RoutingInputs, weight: Tensor, keep: Tensor | None, **fields
    ) -> Routing:
        """The routing of the choices in ``keep`` with combine weights of shape (T, k)."""
        return from_choices(
            inputs,
            self.probs.shape[1],
            self.expert,
            weight,
            keep=self.seen if keep is None else self.keep(keep),
            probs=self.probs,
            logits=seen_logits(self.logits, inputs),
            **fields,
        )


def rank(inputs: RoutingInputs, logits: Tensor, k: int) -> Ranking:
    """The k most probable experts under the softmax of the logits over visible experts."""
    probs = activate(logits, "softmax", inputs.visible)
    expert, seen = top_visible(logits, k, inputs)
    return Ranking(logits, probs, expert, probs.gather(1, expert), seen)


def with_loss(routing: Routing, name: str, total: Tensor) -> Routing:
    """The routing with one more loss: a sum over routed units as a mean."""
    mean = total / routing.stats.n_units.clamp_min(1.0)
    return routing.replace(losses=routing.losses | {name: mean})


def check_choices(k: int, n_experts: int, normalize: str | None) -> None:
    """Refuse a number of experts that is not there, and weights that never teach the router."""
    check_k(k, n_experts)
    check_option("normalize", normalize, NORMALISATIONS)
    if k == 1 and normalize == "sum" and n_experts > 1:
        raise ValueError(
            "with k=1 a normalised weight is always one, and the router gets no gradient. Use "
            "normalize=None."
        )
