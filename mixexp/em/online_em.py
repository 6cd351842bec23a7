"""`OnlineEM`: the solver that goes over mini-batches a few times instead of to convergence."""

from __future__ import annotations

import numbers
from typing import NamedTuple

import numpy as np

from .._component import Component
from .driver import EMResult
from .model import MoEModel
from .online import blended, mean_statistics, step_size, stepped
from .params import size, stack, take
from .status import Status


class EpochState(NamedTuple):
    """After an epoch: n_pass epochs done; anchor (1, d) the packed parameters; objective (1,) the
    mean over the batches, penalised, per unit weight."""

    n_pass: int
    anchor: np.ndarray
    objective: np.ndarray


class OnlineEM(Component):
    """Expectation-maximisation by mini-batches: an M-step after each, not after each pass.

    The statistics of a batch are blended into those before it with the step
    gamma_t = (t + 1)^-decay, t the number of batches before it. Where many passes are dear, as from
    a file, two epochs come close to the maximum; ``fit`` with ``start=model`` and the default
    solver goes on to it.

    Parameters
    ----------
    n_epochs : int, default=2
        Passes over the rows.
    batch_size : int, default=1000
        Rows of a batch. Rows in memory are dealt to the batches as by chance, though by their
        values alone; rows in files come in the order of the file, which should be a random one.
    decay : float in (0.5, 1], default=0.6
        Of the steps: the smaller, the sooner the first batches are forgotten.
    average : bool, default=True
        Whether the parameters are the mean of those of the last half of the batches (Polyak and
        Ruppert), which is as precise as steps 1 / t without being as slow to forget.

    References
    ----------
    Cappe and Moulines (2009), "On-line expectation-maximization algorithm for latent data models",
    JRSS B 71, 593-613.
    """

    checkpoint = None  # a stop keeps nothing: an epoch is as short as two passes

    def __init__(self, n_epochs=2, batch_size=1000, decay=0.6, average=True):
        self.n_epochs = n_epochs
        self.batch_size = batch_size
        self.decay = decay
        self.average = average

    def check(self, gate, expert, K: int):
        """Raise a ValueError for settings out of range, and for parts that batches cannot fit."""
        for name in ("n_epochs", "batch_size"):
            value = getattr(self, name)
            if not isinstance(value, numbers.Integral) or value < 1:
                raise ValueError(
                    f"OnlineEM({name}=...) must be a whole number >= 1; got {value!r}."
                )
        if not 0.5 < self.decay <= 1:
            raise ValueError(f"OnlineEM(decay=...) must lie in (0.5, 1]; got {self.decay!r}.")
        check_learns_online(gate, expert, K, "OnlineEM")
        if gate.stages():
            raise ValueError(
                f"OnlineEM is not available for {gate.title} with stages (annealed, or a scale "
                "that is estimated): each runs to its end. Use a fixed one, or EM()."
            )

    def run(self, model: MoEModel, params, engine, *, callback=None, state=None) -> EMResult:
        """Go over the batches from each of S parameter sets; then one pass for the objective.

        ``callback(EpochState) -> bool`` is called after every epoch; True stops.
        """
        ends, paths, status = [], [], []
        for s in range(size(params)):
            end, path, stopped = self._epochs(model, take(params, s), engine, callback)
            ends.append(end)
            paths.append(path)
            status.append(Status.INTERRUPTED if stopped else Status.EPOCHS)
        n_epochs = max(map(len, paths))
        paths = [path + path[-1:] * (n_epochs - len(path)) for path in paths]
        params = stack(ends)
        final = engine.run(model, params)
        objective = final.loglik / engine.total_weight - model.penalty(params)
        certificate = np.abs(model.gradient(params, final.statistics)).max(axis=1)
        path = [*np.transpose(paths), objective]
        return EMResult(params, objective, path, status, certificate, n_epochs + 1)

    def _epochs(self, model, params, engine, callback):
        """The parameters at the end, the mean objective of the batches of each epoch, stopped."""
        rows = engine.rows  # those without weight are in no batch
        dealt = rows.n_positive if rows.group is None else rows.n
        per_epoch = max(1, dealt // int(self.batch_size))
        late = self.n_epochs * per_epoch // 2  # batches after which parameters are averaged
        path: list[float] = []
        statistics, total, n_batch, stopped = None, 0.0, 0, False
        while len(path) < self.n_epochs and not stopped:
            seen, weight = 0.0, 0.0
            for rows in engine.batches(int(self.batch_size)):
                loglik, own = mean_statistics(model, params, rows)
                seen += rows.total_weight * (loglik - float(model.penalty(stack([params]))[0]))
                weight += rows.total_weight
                if statistics is not None:
                    own = blended(statistics, own, step_size(n_batch, self.decay))
                params, statistics = stepped(model, params, own)
                n_batch += 1
                if n_batch > late:
                    total = total + model.pack(params)
            path.append(seen / weight)
            if callback is not None:
                here = EpochState(len(path), model.pack(stack([params])), np.array(path[-1:]))
                stopped = bool(callback(here))
        if self.average and n_batch > late:
            template = stack([params])
            params = take(model.unpack(np.atleast_2d(total / (n_batch - late)), template), 0)
        return params, path, stopped


def check_learns_online(gate, expert, K: int, what: str):
    """Raise a ValueError for a gate or a family that mini-batches cannot fit."""
    if gate.jumps and gate.k < K:
        raise ValueError(
            f"{what} is not available for {gate.title} with k={gate.k} of {K} experts: its "
            "likelihood jumps, and online steps have no guard against falls. Use fit, or "
            'gate="softmax".'
        )
    if expert.keeps_rows:
        raise ValueError(
            f"{what} is not available for {expert.title}: no sums over past batches determine its "
            'M-step. Use fit, or expert="student".'
        )
