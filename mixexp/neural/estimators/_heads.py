"""Heads: what the top-level experts give, the loss of a row, and what is predicted from it."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod

import torch
from torch import Tensor
from torch.nn import functional as F

from ..experts import ExpertBank
from ..routing import Routing

LOG_SCALE_LIMIT = 7.0  # scales of an expert from 1e-3 of the target's standard deviation upwards


class Head(ABC):
    """A head over m targets, or m classes.

    Parameters
    ----------
    m : int
    """

    per_expert: bool  # whether experts have distributions of their own, mixed by the gate

    def __init__(self, m: int):
        self.m = m

    @property
    def out_dim(self) -> int:
        """Outputs of an expert."""
        return self.m

    @abstractmethod
    def losses(self, bank: ExpertBank, x: Tensor, routing: Routing, target: Tensor) -> Tensor:
        """Loss of every row, shape (T,)."""

    @abstractmethod
    def experts(self, bank: ExpertBank, x: Tensor) -> Tensor:
        """What every expert alone predicts, shape (T, E, m)."""

    @abstractmethod
    def answer(self, bank: ExpertBank, x: Tensor, routing: Routing) -> dict[str, Tensor]:
        """What predictions are made of, each with one entry a row."""


class MeanHead(Head):
    """The mixed outputs are means; squared error."""

    per_expert = False

    def losses(self, bank, x, routing, target):
        return (bank.mix(x, routing) - target).square().mean(1)

    def experts(self, bank, x):
        return bank.every(x).transpose(0, 1)

    def answer(self, bank, x, routing):
        return {"mean": bank.mix(x, routing)}


class DensityHead(Head):
    """Every expert is a Gaussian in each target; the gate mixes densities (Bishop, 1994)."""

    per_expert = True

    @property
    def out_dim(self):
        return 2 * self.m

    def _moments(self, outputs: Tensor) -> tuple[Tensor, Tensor]:
        mean, log_scale = outputs.split(self.m, -1)
        # from below a smooth limit: a density must not grow without end on a single row
        return mean, F.softplus(log_scale + LOG_SCALE_LIMIT) - LOG_SCALE_LIMIT

    def losses(self, bank, x, routing, target):
        mean, log_scale = self._moments(expert_outputs(bank, x, routing))
        z = (target[routing.unit] - mean) * torch.exp(-log_scale)
        log_density = -(0.5 * z.square() + log_scale + 0.5 * math.log(2 * math.pi)).sum(1)
        return -log_mixture(routing, log_density)

    def experts(self, bank, x):
        return self._moments(bank.every(x).transpose(0, 1))[0]

    def answer(self, bank, x, routing):
        mean, log_scale = self._moments(bank.every(x).transpose(0, 1))
        return {"means": mean, "scales": log_scale.exp(), "gate": gate_shares(routing)}


class LogitsHead(Head):
    """The mixed outputs are logits; cross-entropy."""

    per_expert = False

    def losses(self, bank, x, routing, target):
        return F.cross_entropy(bank.mix(x, routing), target, reduction="none")

    def experts(self, bank, x):
        return torch.softmax(bank.every(x).transpose(0, 1), -1)

    def answer(self, bank, x, routing):
        return {"log_proba": torch.log_softmax(bank.mix(x, routing), -1)}


class ClassMixtureHead(Head):
    """Every expert has class probabilities; the gate mixes them."""

    per_expert = True

    def losses(self, bank, x, routing, target):
        log_proba = torch.log_softmax(expert_outputs(bank, x, routing), -1)
        own = log_proba.gather(1, target[routing.unit][:, None]).squeeze(1)
        return -log_mixture(routing, own)

    def experts(self, bank, x):
        return torch.softmax(bank.every(x).transpose(0, 1), -1)

    def answer(self, bank, x, routing):
        log_proba = torch.log_softmax(bank.every(x).transpose(0, 1), -1)
        return {"log_proba": torch.logsumexp(_log(gate_shares(routing))[..., None] + log_proba, 1)}


REGRESSION_HEADS: dict[str, type[Head]] = {"mean": MeanHead, "density": DensityHead}
CLASS_HEADS: dict[str, type[Head]] = {"logits": LogitsHead, "mixture": ClassMixtureHead}


def check_top(routing: Routing, per_expert: bool) -> None:
    """Refuse routings that a head cannot read, by name."""
    if routing.residual is not None:
        raise ValueError(
            "the router keeps an identity path (Routing.residual), which the layer of the head "
            "does not have: its experts give targets, not states. Use another router."
        )
    if per_expert and routing.slot_expert is not None:
        raise ValueError(
            "the router mixes rows in slots, so that experts have no distribution of a single row. "
            'Use head="mean" (classes: head="logits") or a router that chooses experts for rows.'
        )


def expert_outputs(bank: ExpertBank, x: Tensor, routing: Routing) -> Tensor:
    """Output of every pair, unweighted, shape (N, out_dim)."""
    if routing.n_pairs == len(x) * bank.n_experts:
        return bank.every(x).flatten(0, 1)
    return bank(x[routing.unit], routing.counts.tolist())


def gate_shares(routing: Routing) -> Tensor:
    """(T, E) combine weights divided by their sum; zeros where no expert was chosen."""
    weights = routing.weights()
    total = weights.sum(1, keepdim=True)
    return weights / torch.where(total > 0, total, 1.0)


def log_mixture(routing: Routing, log_density: Tensor) -> Tensor:
    """(T,) log of the densities of the pairs, mixed by their normalised weights."""
    log_weight = _log(routing.weight).to(log_density.dtype)
    return _log_sum(routing, log_weight + log_density) - _log_sum(routing, log_weight)


def _log_sum(routing: Routing, values: Tensor) -> Tensor:
    """(T,) log-sum-exp over the pairs of each unit."""
    top = values.detach().new_full((routing.n_units,), -torch.inf)
    top = top.scatter_reduce(0, routing.unit, values.detach(), "amax")
    if not torch.isfinite(top).all():
        raise ValueError(
            "a row was routed to no expert, or its density is not finite; a mixture of densities "
            "needs at least one expert a row. Use a router that chooses one (top_k, gumbel)."
        )
    scaled = torch.exp(values - top[routing.unit])
    return top + torch.log(values.new_zeros(routing.n_units).index_add(0, routing.unit, scaled))


def _log(weight: Tensor) -> Tensor:
    return weight.clamp_min(torch.finfo(weight.dtype).tiny).log()
