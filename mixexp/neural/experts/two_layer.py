"""Weights of two-layer experts, and their outputs by plain autograd."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from .activations import Hidden
from .mixing import split_rows


class TwoLayer(NamedTuple):
    """Weights of two-layer experts, one tensor for all, and the map between the layers.

    Parameters
    ----------
    hidden : Hidden
    w1 : Tensor of shape (E, d, n_parts * h)
    w2 : Tensor of shape (E, h, d_out)
    b1, b2 : Tensor of shape (E, n_parts * h) and (E, d_out), or None
    widths : tuple of int or None
        Where experts differ in h: their widths. Then ``w1``, ``w2`` and ``b1`` are flat, expert
        after expert, and ``w2`` has shape (sum of h, d_out).
    """

    hidden: Hidden
    w1: Tensor
    w2: Tensor
    b1: Tensor | None
    b2: Tensor | None
    widths: tuple[int, ...] | None = None

    @property
    def n_parts(self) -> int:
        """Columns of the first product for each input of the second."""
        return self.hidden.n_parts

    @property
    def widest(self) -> int:
        """The largest h."""
        return self.w2.shape[1] if self.widths is None else max(self.widths)

    def with_tensors(self, tensors) -> TwoLayer:
        """The same experts with other weights."""
        w1, w2, b1, b2 = tensors
        return TwoLayer(self.hidden, w1, w2, b1, b2, self.widths)

    @property
    def tensors(self) -> tuple[Tensor | None, ...]:
        """w1, w2, b1 and b2."""
        return self.w1, self.w2, self.b1, self.b2

    def views(self) -> tuple[list, list, list, list]:
        """w1, w2, b1 and b2 of each expert; None for biases that are not there."""
        # unbind once: indexing a stacked parameter expert by expert would build a gradient of the
        # full stack for each of them
        if self.widths is None:
            n = len(self.w2)
            each = [[None] * n if t is None else list(t.unbind(0)) for t in self.tensors]
            return each[0], each[1], each[2], each[3]
        wide = [self.n_parts * h for h in self.widths]
        dim = self.w1.numel() // sum(wide)
        first = self.w1.split([dim * h for h in wide])
        none = [None] * len(wide)
        return (
            [part.view(dim, h) for part, h in zip(first, wide)],
            list(self.w2.split(self.widths)),
            none if self.b1 is None else list(self.b1.split(wide)),
            none if self.b2 is None else list(self.b2.unbind(0)),
        )

    def of_runs(self, runs) -> tuple[list, list, list, list]:
        """w1, w2, b1 and b2 of each run of experts, with the experts first; b1, b2 as a row each.

        Parameters
        ----------
        runs : list of Run
            Of one expert each where widths differ.
        """
        if self.widths is not None:
            each = [
                [None if views[run.first] is None else views[run.first][None] for run in runs]
                for views in self.views()
            ]
        else:
            each = [
                [None if t is None else t.narrow(0, run.first, run.n) for run in runs]
                for t in self.tensors
            ]
        shifts = [[None if b is None else b.unsqueeze(1) for b in views] for views in each[2:]]
        return each[0], each[1], shifts[0], shifts[1]


def plain_two_layer(rows: Tensor, counts: list[int], experts: TwoLayer) -> Tensor:
    """Outputs for rows sorted by expert, by plain autograd."""
    first, second, shift1, shift2 = experts.views()
    outputs = []
    for e, part in enumerate(split_rows(rows, counts)):
        inner = experts.hidden.plain(_affine(part, first[e], shift1[e]))
        outputs.append(_affine(inner, second[e], shift2[e]))
    return torch.cat(outputs)


def _affine(rows: Tensor, weight: Tensor, shift: Tensor | None) -> Tensor:
    return rows @ weight if shift is None else torch.addmm(shift, rows, weight)
