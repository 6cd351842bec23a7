"""The training loop: batches by index, fused AdamW, early stopping, interruption."""

from __future__ import annotations

import math
import warnings
from abc import ABC, abstractmethod
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from ..routing import Clock, Router, Routing
from .auxiliary import auxiliary_losses
from .schedules import factor
from .settings import Training, TrainingProgress


class Step(NamedTuple):
    """What an objective says of one batch: the loss, and the routers with their routings."""

    loss: Tensor
    routed: list[tuple[Router, Routing]]


class Objective(ABC):
    """A loss over rows that are addressed by index."""

    n_rows: int
    validates: bool

    @abstractmethod
    def step(self, index: Tensor, clock: Clock, generator: torch.Generator) -> Step:
        """Mean loss of the rows in ``index``."""

    @abstractmethod
    def validation_loss(self, clock: Clock) -> float:
        """Loss of the rows that were held out."""


class TrainingResult(NamedTuple):
    """How a training went.

    Parameters
    ----------
    loss_curve, validation_curve : list of float
        After every epoch; the second is empty without validation.
    best_epoch : int or None
        Epoch whose state was kept, counted from 1; None where that is the last.
    step : int
        Optimiser steps done in all.
    optimizer : torch.optim.Optimizer
    interrupted : bool
    """

    loss_curve: list[float]
    validation_curve: list[float]
    best_epoch: int | None
    step: int
    optimizer: torch.optim.Optimizer
    interrupted: bool


class _Best:
    """The state of least validation loss."""

    def __init__(self, module: nn.Module):
        self.module = module
        self.loss = math.inf
        self.epoch: int | None = None
        self.state: dict[str, Any] = {}

    def see(self, loss: float, epoch: int) -> None:
        if loss < self.loss:
            self.loss, self.epoch = loss, epoch
            self.state = {name: t.clone() for name, t in self.module.state_dict().items()}

    def restore(self) -> None:
        if self.state:
            self.module.load_state_dict(self.state)


def make_optimizer(module: nn.Module, settings: Training) -> torch.optim.Optimizer:
    """Fused AdamW; weight decay only of parameters with two or more axes."""
    learned = [p for p in module.parameters() if p.requires_grad]
    decayed = [p for p in learned if p.ndim > 1]
    others = [p for p in learned if p.ndim <= 1]
    groups = [{"params": decayed, "weight_decay": settings.weight_decay}]
    groups.append({"params": others, "weight_decay": 0.0})
    return torch.optim.AdamW(
        [group for group in groups if group["params"]], lr=settings.learning_rate, fused=True
    )


def train(
    module: nn.Module,
    objective: Objective,
    settings: Training,
    generator: torch.Generator,
    *,
    optimizer: torch.optim.Optimizer | None = None,
    step: int = 0,
    n_epochs: int | None = None,
) -> TrainingResult:
    """Train a module in place.

    Parameters
    ----------
    module : Module
    objective : Objective
    settings : Training
    generator : torch.Generator
        The only source of randomness: order of rows, noise and dropout.
    optimizer, step : optional
        Where an earlier training stopped.
    n_epochs : int, optional
        So many epochs at a constant learning rate, instead of the planned ones (`partial_fit`).

    Raises
    ------
    FloatingPointError
        If a loss is no longer finite.
    """
    run = _Run(module, objective, settings, generator, optimizer, step, n_epochs)
    interrupted = False
    module.train()
    try:
        run.epochs()
    except KeyboardInterrupt:
        interrupted = True
        kept = f"epoch {run.best.epoch}" if run.best.epoch else "the last step"
        warnings.warn(
            f"training was interrupted in epoch {run.epoch + 1}; the state of {kept} is kept.",
            RuntimeWarning,
            stacklevel=2,
        )
    finally:
        module.eval()
    run.best.restore()
    best = run.best.epoch
    return TrainingResult(run.losses, run.validation, best, run.step, run.optimizer, interrupted)


class _Run:
    """One training while it goes on."""

    def __init__(self, module, objective, settings, generator, optimizer, step, n_epochs):
        self.module = module
        self.objective = objective
        self.settings = settings
        self.generator = generator
        self.optimizer = make_optimizer(module, settings) if optimizer is None else optimizer
        self.learned = [p for group in self.optimizer.param_groups for p in group["params"]]
        self.best = _Best(module)
        self.step = step
        self.epoch = 0
        self.planned = settings.max_epochs if n_epochs is None else n_epochs
        size = settings.batch_size or objective.n_rows
        self.n_batches = max(1, math.ceil(objective.n_rows / size))
        self.total = self.planned * self.n_batches if n_epochs is None else None
        self.losses: list[float] = []
        self.validation: list[float] = []

    def epochs(self) -> None:
        """All planned epochs, or fewer where validation or the callback ends them."""
        while self.epoch < self.planned:
            loss, auxiliary = self.one_epoch()
            if not math.isfinite(loss):
                raise FloatingPointError(
                    f"the training loss is {loss} in epoch {self.epoch + 1}. Lower learning_rate "
                    f"(it is {self.settings.learning_rate:g}) or clip_norm."
                )
            self.epoch += 1
            self.losses.append(loss)
            if self.objective.validates:
                self.module.eval()
                held_out = self.objective.validation_loss(self.clock(training=False))
                self.module.train()
                self.validation.append(held_out)
                self.best.see(held_out, self.epoch)
            if self.told_to_stop(auxiliary):
                return

    def told_to_stop(self, auxiliary: dict[str, float]) -> bool:
        """Whether the callback or the patience ends the training."""
        held_out = self.validation[-1] if self.validation else None
        told = TrainingProgress(
            self.epoch, self.step, self.losses[-1], held_out, self.best.epoch, auxiliary
        )
        callback = self.settings.callback
        if callback is not None and callback(told) is True:
            return True
        best = self.best.epoch
        return best is not None and self.epoch - best >= self.settings.patience

    def clock(self, training: bool = True) -> Clock:
        return Clock(self.step, self.total, training)

    def one_epoch(self) -> tuple[float, dict[str, float]]:
        """Mean loss and auxiliary losses of one pass over the rows."""
        n, device = self.objective.n_rows, self.generator.device
        if self.n_batches == 1:
            batches: Any = [torch.arange(n, device=device)]
        else:
            order = torch.randperm(n, generator=self.generator, device=device)
            # parts of equal size, so that no step rests on a few rows
            batches = torch.tensor_split(order, self.n_batches)
        total = torch.zeros((), dtype=torch.float64, device=device)
        sums: dict[str, Tensor] = {}
        for index in batches:
            loss, auxiliary = self.one_step(index)
            total += loss * len(index)
            for name, value in auxiliary.items():
                sums[name] = sums.get(name, 0.0) + value * len(index)
        return float(total) / n, {name: float(value) / n for name, value in sums.items()}

    def one_step(self, index: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """One step of the optimiser, then of the routers that learn from statistics."""
        settings = self.settings
        rate = settings.learning_rate * factor(
            settings.schedule, self.step, self.total, settings.warmup
        )
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        clock = self.clock()
        step = self.objective.step(index, clock, self.generator)
        weights = settings.loss_weights or {}
        auxiliary = auxiliary_losses([routing for _, routing in step.routed], weights)
        total = step.loss + sum(weights[name] * value for name, value in auxiliary.items())
        self.optimizer.zero_grad(set_to_none=True)
        total.backward()
        if settings.clip_norm is not None:
            torch.nn.utils.clip_grad_norm_(self.learned, settings.clip_norm)
        self.optimizer.step()
        for router, routing in step.routed:
            router.update(routing.stats.detach(), clock)
        self.step += 1
        return step.loss.detach(), {name: value.detach() for name, value in auxiliary.items()}
