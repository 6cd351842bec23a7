"""Training rows as tensors, and the objective of a tabular model over them."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from ..routing import Clock
from ..training import Objective, Step
from ._columns import Columns, Table


class Rows(NamedTuple):
    """Rows as the model takes them: standardised numbers, codes, target, weights of mean one."""

    numeric: Tensor
    codes: Tensor
    target: Tensor
    weight: Tensor


def as_rows(columns: Columns, table: Table, target, weight, dtype, device) -> Rows:
    """Rows on the device; ``target`` keeps its kind (numbers in ``dtype``, classes whole)."""
    place: dict[str, Any] = {"dtype": dtype, "device": device}
    target = torch.as_tensor(np.array(target), device=device)
    return Rows(
        torch.as_tensor(columns.standardised(table.numeric), **place),
        torch.as_tensor(columns.codes(table.categories), device=device),
        target.to(dtype) if target.is_floating_point() else target,
        torch.as_tensor(weight * (len(weight) / weight.sum()), **place),
    )


class TabularObjective(Objective):
    """Weighted mean loss of rows.

    Parameters
    ----------
    module : Module
        With the face that `TabularEstimator` describes.
    rows : Rows
    held_out : Rows or None
    seed : int
        Of the randomness that a router may have at validation.
    """

    def __init__(self, module: Any, rows: Rows, held_out: Rows | None, seed: int):
        self.module = module
        self.rows = rows
        self.held_out = held_out
        self.seed = seed
        self.n_rows = len(rows.weight)
        self.validates = held_out is not None

    def step(self, index: Tensor, clock: Clock, generator: torch.Generator) -> Step:
        # all rows are taken as they are: no copy of a full batch
        part = self.rows if len(index) == self.n_rows else Rows(*(t[index] for t in self.rows))
        passed = self.module(part.numeric, part.codes, clock, generator)
        losses = self.module.losses(passed, part.target)
        return Step((losses * part.weight).mean(), passed.routed)

    @torch.no_grad()
    def validation_loss(self, clock: Clock) -> float:
        assert self.held_out is not None
        total = 0.0
        for passed, part in passes(self.module, self.held_out, clock, self.seed):
            total += float((self.module.losses(passed, part.target) * part.weight).sum())
        return total / len(self.held_out.weight)


BLOCK = 8192  # rows predicted at a time


def passes(module: Any, rows: Rows, clock: Clock, seed: int):
    """Passes over blocks of rows, each with the same seed; one block where rows must stay together.

    Yields
    ------
    passed : Pass
    part : Rows
    """
    alone = all(layer.flags(False).batch_independent for layer in module.layers)
    size = BLOCK if alone else max(1, len(rows.weight))
    for start in range(0, len(rows.weight), size):
        part = Rows(*(t[start : start + size] for t in rows))
        generator = torch.Generator(part.weight.device).manual_seed(seed)
        yield module(part.numeric, part.codes, clock, generator), part
