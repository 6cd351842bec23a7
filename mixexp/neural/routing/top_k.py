"""Top-k token choice: the router of most sparse models, with its choices as explicit arguments."""

from __future__ import annotations

import torch
from torch import Tensor

from ..checks import check_k, check_option
from .assignment import Routing, expand, from_choices
from .base import NO_CLOCK, Router, RouterFlags, register_router, seen_logits, top_visible
from .inputs import Clock, MissingRoutingInputError, RoutingInputs
from .noise import uniform_noise
from .scores import ACTIVATIONS, LinearScore, activate, probabilities, standardise
from .stats import RoutingStats

ORDERS = ("activate_then_select", "select_then_activate")
NORMALISATIONS = (None, "sum", "detached_sum")
LEVELS = ("token", "sequence", "task")


@register_router("top_k")
class TopKRouter(Router):
    """Each unit goes to the k experts of highest score.

    With scores ``z = W x``, activation ``a`` and chosen set S the weights are, by ``order``,

    - ``"activate_then_select"``: ``a(z)_e`` for e in S. Softmax weights then sum to less than
      one, and the gradient reaches all scores (Switch, DeepSeekMoE, OLMoE);
    - ``"select_then_activate"``: ``a(z_S)_e``: softmax weights sum to one (Mixtral, GShard).

    Parameters
    ----------
    dim, n_experts : int
    k : int
        Experts a unit, at most ``n_experts``.
    score : {"softmax", "sigmoid", "relu"}
        The activation a.
    order : {"activate_then_select", "select_then_activate"}
    normalize : None, "sum" or "detached_sum"
        Whether the chosen weights are divided by their sum; detached, the sum carries no gradient
        (mixture of attention heads). Null experts are left out of the sum and have weight zero
        (AdaMoE, MoE++).
    logit_norm : float, optional
        Scores are standardised row by row to this standard deviation (Skywork-MoE).
    gating_residual : bool
        Scores of the previous layer's router, times a learned matrix, are added (MoE++); of a
        segment or task, their mean. The first layer adds nothing.
    bias_balance : float, optional
        Rate of the bias that balances without a loss (DeepSeek-V3): `update` lowers the bias of
        experts with more than the mean count and raises the others'. It moves the selection only,
        never a weight.
    level : {"token", "sequence", "task"}
        What is routed: each unit, or the mean of the units of a segment or task as one.
    jitter : float
        In training inputs are multiplied by uniform factors from ``1 - jitter`` to ``1 + jitter``
        (Switch Transformer).
    bias : bool
        Whether scores have an intercept.

    Raises
    ------
    ValueError
        For k outside 1 ... E, unknown options, and for settings under which a single chosen
        weight is always one, so that the router would never learn.

    References
    ----------
    Shazeer et al., "Outrageously large neural networks", 2017, section 2; Lepikhin et al.,
    "GShard", 2021, algorithm 1; Wei et al., "Skywork-MoE", 2024, section 4.1; Jin et al., "MoE++",
    2024, section 3.2; Zeng et al., "AdaMoE", 2024; Csordas et al., "Approximating two-layer
    feedforward networks", 2023.
    """

    def __init__(
        self,
        dim: int,
        n_experts: int,
        k: int = 2,
        *,
        score: str = "softmax",
        order: str = "activate_then_select",
        normalize: str | None = None,
        logit_norm: float | None = None,
        gating_residual: bool = False,
        bias_balance: float | None = None,
        level: str = "token",
        jitter: float = 0.0,
        bias: bool = False,
    ):
        super().__init__(dim, n_experts)
        _check_options(k, n_experts, score, order, normalize, level)
        self.k = k
        self.activation = score
        self.order = order
        self.normalize = normalize
        self.logit_norm = logit_norm
        self.bias_balance = bias_balance
        self.level = level
        self.jitter = jitter
        self.score = LinearScore(dim, n_experts, bias=bias)
        self.residual_score = (
            LinearScore(n_experts, n_experts, std=0.0) if gating_residual else None
        )
        if level != "token":
            self.needs = frozenset({{"sequence": "segment", "task": "task_id"}[level]})
        if bias_balance is not None:
            self.register_buffer("selection_bias", torch.zeros(n_experts, dtype=torch.float32))

    def flags(self, training: bool) -> RouterFlags:
        pooled = self.level != "token"
        return RouterFlags(
            causal=not pooled,
            batch_independent=self.level != "task",
            stochastic=training and self.jitter > 0,
            differentiable=self.normalize != "detached_sum",
        )

    def route(self, inputs: RoutingInputs) -> Routing:
        inputs = inputs.replace(state=self._previous(inputs))
        if self.level == "token":
            return self._choose(inputs)
        items, item = pooled(inputs, "segment" if self.level == "sequence" else "task_id")
        return expand(self._choose(items), inputs, item)

    def logits(self, inputs: RoutingInputs) -> Tensor:
        """Scores of shape (T, E), before any mask."""
        x = inputs.x
        if inputs.training and self.jitter > 0:
            noise = uniform_noise(tuple(x.shape), x, inputs)
            x = x * (1 + self.jitter * (2 * noise - 1))
        logits = self.score(x)
        if self.residual_score is not None and inputs.state is not None:
            logits = logits + self.residual_score(inputs.state)
        return logits if self.logit_norm is None else standardise(logits, self.logit_norm)

    def _previous(self, inputs: RoutingInputs) -> Tensor | None:
        """Scores of the previous layer, shape (T, E), for a gating residual."""
        if self.residual_score is None or inputs.state is None:
            return None
        state, shape = inputs.state, (inputs.n_units, self.n_experts)
        if not isinstance(state, Tensor) or state.shape != shape:
            raise MissingRoutingInputError(
                "a gating residual needs the scores of the previous layer's router, of shape "
                f"{shape}: give that router gating_residual=True and as many experts."
            )
        return state

    def _choose(self, inputs: RoutingInputs) -> Routing:
        logits = self.logits(inputs)
        weights = activate(logits, self.activation, inputs.visible)
        selection = logits
        if self.bias_balance is not None:
            # the bias is on the scale of the weights, as published: it competes with activations
            selection = weights + self.selection_bias.to(weights.dtype)
        expert, seen = top_visible(selection, self.k, inputs)
        return from_choices(
            inputs,
            self.n_experts,
            expert,
            self._weigh(logits, weights, expert, seen, null_among(inputs, expert)),
            keep=seen,
            probs=probabilities(weights, self.activation),
            logits=seen_logits(logits, inputs),
            state=logits if self.residual_score is not None else None,
        )

    def _weigh(self, logits, weights, expert, seen, null) -> Tensor:
        """Weights of the chosen experts, shape (T, k)."""
        if self.order == "select_then_activate":
            chosen = activate(logits.gather(1, expert), self.activation, seen)
        else:
            chosen = weights.gather(1, expert)
        return normalised(chosen, self.normalize, null=null)

    def update(self, stats: RoutingStats, clock: Clock = NO_CLOCK) -> None:
        """Move the balancing bias by one step, from the step's counts; its mean stays zero."""
        if self.bias_balance is None:
            return
        with torch.no_grad():
            counts = stats.counts.float()
            self.selection_bias += self.bias_balance * torch.sign(counts.mean() - counts)
            self.selection_bias -= self.selection_bias.mean()


@register_router("switch")
class SwitchRouter(TopKRouter):
    """One expert a unit, weighted by its softmax probability, with multiplicative jitter.

    Parameters
    ----------
    dim, n_experts : int
    jitter : float
        Half width of the uniform factors on the inputs in training.

    References
    ----------
    Fedus, Zoph and Shazeer, "Switch Transformers", 2022, equations 1 and 2.
    """

    def __init__(self, dim: int, n_experts: int, *, jitter: float = 0.01):
        super().__init__(dim, n_experts, 1, jitter=jitter)


def normalised(
    weights: Tensor, how: str | None, keep: Tensor | None = None, null: Tensor | None = None
) -> Tensor:
    """Chosen weights of shape (T, k), divided by the sum of the kept ones as asked.

    Parameters
    ----------
    how : None, "sum" or "detached_sum"
        Detached, the sum carries no gradient.
    keep : BoolTensor of shape (T, k), optional
        Choices that count; all by default.
    null : BoolTensor of shape (T, k), optional
        Null experts: their weights become zero, and those of the others sum to one.
    """
    if how is None:
        return weights
    if keep is not None and how == "sum" and weights.shape[1] == 1:
        # the quotient would have a gradient of rounding errors
        return torch.ones_like(weights) if null is None else (~null).to(weights.dtype)
    if null is not None:
        weights = weights.masked_fill(null, 0.0)
    total = (weights if keep is None else torch.where(keep, weights, 0.0)).sum(-1, keepdim=True)
    total = total.clamp_min(torch.finfo(weights.dtype).tiny)
    return weights / (total.detach() if how == "detached_sum" else total)


def null_among(inputs: RoutingInputs, expert: Tensor) -> Tensor | None:
    """Which chosen experts are null experts, shape (T, k); None for a bank without them."""
    if inputs.experts is None or not inputs.experts.has_null:
        return None
    return inputs.experts.null.to(expert.device)[expert]


def pooled(inputs: RoutingInputs, by: str) -> tuple[RoutingInputs, Tensor]:
    """Means over the valid units of each segment or task as inputs, and each unit's item.

    A state of shape (T, c) is averaged too. Experts visible to an item are those visible to all
    of its units.
    """
    ids, item = torch.unique(getattr(inputs, by), return_inverse=True)
    valid = inputs.valid if inputs.valid is not None else torch.ones_like(item, dtype=torch.bool)
    share = valid.to(inputs.x.dtype)
    size = share.new_zeros(len(ids)).index_add(0, item, share)

    def mean(values: Tensor) -> Tensor:
        total = values.new_zeros(len(ids), values.shape[1])
        total = total.index_add(0, item, torch.where(valid[:, None], values, 0.0))
        return total / size.clamp_min(1.0).to(values.dtype)[:, None]

    visible = inputs.visible
    if visible is not None and visible.ndim == 2:
        hidden = (~visible & valid[:, None]).to(share.dtype)
        visible = share.new_zeros(len(ids), visible.shape[1]).index_add(0, item, hidden) == 0
    items = RoutingInputs(
        mean(inputs.x),
        valid=size > 0,
        visible=visible,
        state=None if inputs.state is None else mean(inputs.state),
        layer=inputs.layer,
        n_layers=inputs.n_layers,
        clock=inputs.clock,
        generator=inputs.generator,
        **{by: ids},
    )
    return items, item


def _check_options(k, n_experts, score, order, normalize, level) -> None:
    """Refuse unknown options, and those under which the router gets no gradient."""
    check_k(k, n_experts)
    check_option("score", score, tuple(ACTIVATIONS))
    check_option("order", order, ORDERS)
    check_option("normalize", normalize, NORMALISATIONS)
    check_option("level", level, LEVELS)
    always_one = normalize == "sum" or (order == "select_then_activate" and score == "softmax")
    if k == 1 and always_one and n_experts > 1:
        raise ValueError(
            "with k=1 a weight that is normalised over the chosen experts is always one, and the "
            'router gets no gradient. Use order="activate_then_select" and normalize=None, or a '
            "router with a gradient estimator of its own."
        )
