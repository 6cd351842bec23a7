"""`Training`: how a neural estimator is trained, as one part with settings."""

from __future__ import annotations

from typing import NamedTuple

from ..._component import Component
from ..checks import check_option
from .schedules import SCHEDULES


class TrainingProgress(NamedTuple):
    """What a callback is told after every epoch.

    Parameters
    ----------
    epoch : int
        Epochs done.
    step : int
        Optimiser steps done.
    loss : float
        Mean training loss of the epoch, auxiliary losses left out.
    validation_loss : float or None
    best_epoch : int or None
        Epoch of the least validation loss so far, counted from 1.
    auxiliary : dict of str to float
        Unscaled means of the auxiliary losses that were asked for.
    """

    epoch: int
    step: int
    loss: float
    validation_loss: float | None
    best_epoch: int | None
    auxiliary: dict[str, float]


class Training(Component):
    """AdamW over batches of rows, with a schedule, clipping and early stopping.

    Rows that are equal in all columns and in the target are one row with the sum of their weights,
    and rows without weight are left out: a weight of 2 is the row twice, in a batch as in the
    whole, and the order of the rows does not matter.

    Parameters
    ----------
    max_epochs : int
    batch_size : int or None
        Distinct rows a step; None for all rows.
    learning_rate : float
    weight_decay : float
        Decoupled; of weights with two or more axes, never of biases.
    schedule : {"cosine", "constant"}
        Over all planned epochs.
    warmup : int
        Steps over which the learning rate rises linearly from near zero.
    clip_norm : float or None
        Largest norm of the gradient.
    early_stopping : bool
        Whether ``validation_fraction`` of the rows is held out; the state of the least validation
        loss is kept.
    validation_fraction : float
    patience : int
        Epochs without a smaller validation loss after which training ends.
    loss_weights : dict of str to float, optional
        Coefficients of auxiliary losses by name: ``"load_balancing"``, ``"importance"``,
        ``"router_z"``, ``"router_entropy"``, ``"selection_entropy"``, ``"mutual_information"``,
        and the losses that the routers return.
    callback : callable, optional
        Called with a `TrainingProgress` after every epoch; training ends when it returns True.

    References
    ----------
    Loshchilov and Hutter, "Decoupled weight decay regularization", 2019.
    """

    def __init__(
        self,
        max_epochs=100,
        *,
        batch_size=256,
        learning_rate=3e-3,
        weight_decay=1e-4,
        schedule="cosine",
        warmup=0,
        clip_norm=1.0,
        early_stopping=True,
        validation_fraction=0.15,
        patience=16,
        loss_weights=None,
        callback=None,
    ):
        self.max_epochs = max_epochs
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.weight_decay = weight_decay
        self.schedule = schedule
        self.warmup = warmup
        self.clip_norm = clip_norm
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.patience = patience
        self.loss_weights = loss_weights
        self.callback = callback

    def check(self) -> Training:
        """The settings themselves.

        Raises
        ------
        ValueError
            For settings out of range, by name.
        TypeError
            For a callback that cannot be called.
        """
        wholes = ["max_epochs", "patience"] + ["batch_size"] * (self.batch_size is not None)
        for name in wholes:
            value = getattr(self, name)
            if value < 1 or int(value) != value:
                raise ValueError(f"{name} must be a whole number of at least 1; got {value!r}.")
        if not self.learning_rate > 0 or not self.weight_decay >= 0:
            raise ValueError(
                "learning_rate must be positive and weight_decay not negative; got "
                f"{self.learning_rate!r} and {self.weight_decay!r}."
            )
        if self.warmup < 0 or int(self.warmup) != self.warmup:
            raise ValueError(f"warmup must be a whole number of at least 0; got {self.warmup!r}.")
        if self.clip_norm is not None and not self.clip_norm > 0:
            raise ValueError(f"clip_norm must be positive, or None; got {self.clip_norm!r}.")
        if self.callback is not None and not callable(self.callback):
            raise TypeError(f"callback must be callable, or None; got {self.callback!r}.")
        check_option("schedule", self.schedule, sorted(SCHEDULES))
        if self.early_stopping and not 0 < self.validation_fraction < 1:
            raise ValueError(
                "validation_fraction must lie strictly between 0 and 1; got "
                f"{self.validation_fraction!r}."
            )
        return self
