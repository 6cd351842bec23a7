"""Routing by a rule or model from outside: any function, or any object with `predict_proba`."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ..checks import check_k, check_option
from .assignment import Routing, from_choices, from_mask
from .base import Router, RouterFlags, register_router, top_visible
from .fallback import visible_choices
from .inputs import PER_UNIT, RoutingInputs, routing_precision

RETURNS = ("weights", "labels")


@register_router("callable")
class CallableRouter(Router):
    """Each unit goes where a given rule sends it.

    The rule sees one field of the units that are no padding. A fitted classifier is called through
    its `predict_proba` with a NumPy array, class e being expert e; everything else with a tensor. A
    rule that is a module is a part of this one: its parameters are trained and saved with it.
    The state of other rules is not saved.

    Parameters
    ----------
    dim, n_experts : int
    rule : callable, or object with ``predict_proba``
    field : str
        The field of `RoutingInputs` that it sees: ``"x"``, ``"context"``, ``"token_id"``, ...
    returns : {"weights", "labels"}
        Non-negative weights of shape (T, E), or one expert's number for each unit, of weight one.
    k : int, optional
        The k largest weights are kept, as they are; all positive ones by default.
    causal, batch_independent : bool
        What the rule promises (see `RouterFlags`). Whoever gives the rule answers for it.

    Raises
    ------
    ValueError
        For unknown settings, and, when routing, for outputs of another shape, outside the experts,
        negative or not finite.

    Notes
    -----
    Where a label's expert is hidden, the nearest visible one above it is taken, cyclically.
    """

    def __init__(
        self,
        dim: int,
        n_experts: int,
        rule,
        field: str = "x",
        *,
        returns: str = "weights",
        k: int | None = None,
        causal: bool = True,
        batch_independent: bool = True,
    ):
        super().__init__(dim, n_experts)
        if not callable(rule) and not hasattr(rule, "predict_proba"):
            raise ValueError(f"rule must be callable or have predict_proba; got {rule!r}.")
        check_option("field", field, tuple(name for name in PER_UNIT if name != "valid"))
        check_option("returns", returns, RETURNS)
        if k is not None:
            check_k(k, n_experts)
        self.rule = rule
        self.field = field
        self.returns = returns
        self.k = k
        self.causal = causal
        self.batch_independent = batch_independent
        self.needs = frozenset({field} - {"x"})

    def flags(self, training: bool) -> RouterFlags:
        learns = isinstance(self.rule, nn.Module) and any(
            parameter.requires_grad for parameter in self.rule.parameters()
        )
        weighs = self.returns == "weights"
        return RouterFlags(
            causal=self.causal,
            batch_independent=self.batch_independent,
            trainable=learns and weighs,
            variable_k=weighs and self.k is None,
        )

    def route(self, inputs: RoutingInputs) -> Routing:
        if self.returns == "labels":
            wanted = self._labels(inputs)
            expert, seen = visible_choices(inputs, wanted[:, None], self.n_experts)
            ones = torch.ones_like(expert, dtype=inputs.x.dtype)
            return from_choices(inputs, self.n_experts, expert, ones, keep=seen)
        weights = self._weights(inputs)
        if inputs.visible is not None:
            weights = weights.masked_fill(~inputs.visible, 0.0)
        total = weights.sum(1, keepdim=True).clamp_min(torch.finfo(weights.dtype).tiny)
        if self.k is None:
            return from_mask(inputs, weights > 0, weights, probs=weights / total)
        expert, seen = top_visible(weights, self.k, inputs)
        return from_choices(
            inputs,
            self.n_experts,
            expert,
            weights.gather(1, expert),
            keep=seen,
            probs=weights / total,
        )

    def _answers(self, inputs: RoutingInputs) -> Tensor | None:
        """What the rule says of the valid units; None where there are none."""
        seen: Tensor = getattr(inputs, self.field)
        if inputs.valid is not None:
            seen = seen[inputs.valid]
        if not len(seen):
            return None
        if seen.is_floating_point():
            seen = routing_precision(seen)
        if hasattr(self.rule, "predict_proba"):
            given = self.rule.predict_proba(seen.detach().cpu().numpy())
            return torch.as_tensor(given, device=inputs.x.device)
        return torch.as_tensor(self.rule(seen), device=inputs.x.device)

    def _weights(self, inputs: RoutingInputs) -> Tensor:
        """Weights of all units, shape (T, E), zero at padding."""
        found = inputs.x.new_zeros(inputs.n_units, self.n_experts)
        given = self._answers(inputs)
        if given is None:
            return found
        n_units = inputs.n_units if inputs.valid is None else int(inputs.valid.sum())
        if given.shape != (n_units, self.n_experts):
            raise ValueError(
                f"CallableRouter needs weights of shape {(n_units, self.n_experts)} from its rule, "
                f"a column for each expert; got {tuple(given.shape)}. For expert numbers set "
                'returns="labels".'
            )
        given = given.to(found.dtype)
        if not bool((torch.isfinite(given) & (given >= 0)).all()):
            raise ValueError("CallableRouter needs finite weights of at least 0 from its rule.")
        return given if inputs.valid is None else found.index_put((inputs.valid,), given)

    def _labels(self, inputs: RoutingInputs) -> Tensor:
        """The expert of every unit, shape (T,), zero at padding."""
        found = torch.zeros(inputs.n_units, dtype=torch.long, device=inputs.x.device)
        given = self._answers(inputs)
        if given is None:
            return found
        n_units = inputs.n_units if inputs.valid is None else int(inputs.valid.sum())
        if given.shape != (n_units,) or given.is_floating_point():
            raise ValueError(
                f"CallableRouter needs {n_units} expert numbers from its rule; got {given.dtype} "
                f'of shape {tuple(given.shape)}. For weights set returns="weights".'
            )
        if int(given.min()) < 0 or int(given.max()) >= self.n_experts:
            raise ValueError(
                f"CallableRouter needs experts from 0 to {self.n_experts - 1} from its rule; got "
                f"{int(given.min())} to {int(given.max())}."
            )
        given = given.long()
        return given if inputs.valid is None else found.index_put((inputs.valid,), given)
