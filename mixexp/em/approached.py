"""Fits of gates whose likelihood jumps: how to come near, and what can be said of the end.

Where the classes of rows change at thresholds, steps of EM are blocked by the first row that would
lose its expert. Gates with continuous likelihoods let such rows through at a finite price. The
search runs on them, each steeper than the one before.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from ..gates.held import HeldGate
from .driver import EM, EMResult
from .engines import engine_for
from .model import MoEModel
from .params import MoEParams, stack, take
from .rows import Rows
from .start import MultiStart, StartResult, continued
from .starts.table import canonical_table
from .status import Status

KEPT = 6  # optima of the search with the first gate that go all the way
PASSES = 100  # with each gate on the way
ROUNDS = 20  # of experts alone and both parts, at the end
RISE = 1e-10  # of the objective per unit weight, that is more than rounding


def approached_start(
    model: MoEModel,
    rows: Rows,
    start: MultiStart,
    seed: int,
    candidates: Sequence[MoEParams],
    search: Callable,
) -> StartResult:
    """The best regular optimum that is reached through the gates that lead to the model's own.

    Parameters
    ----------
    candidates : sequence of MoEParams
        Of K experts, tried besides.
    search : callable
        ``search(model, rows)``: a `StartResult` of the model with the first of the gates.
    """
    first, *others = model.gate.approach()
    table = canonical_table(rows, start.table_size, seed)
    pool = search(model._replace(gate=first), rows).pool[:KEPT]
    batch = _through(others, model, table.rows, stack(list(pool)))
    reached = [take(batch, s) for s in range(len(pool))]
    kinds = [("approached",)] * len(reached) + [("given",)] * len(candidates)
    return continued(model, table, [*reached, *candidates], kinds)


def led(model: MoEModel, rows: Rows, params: MoEParams) -> MoEParams:
    """What is reached from one parameter set through the gates, or the set where that is better."""
    batch = _through(model.gate.approach(), model, rows, stack([params]))
    both = stack([take(batch, 0), params])
    result = EM(PASSES).run(model, both, engine_for(rows, model))
    return take(result.params, int(np.argmax(result.objective)))


def _through(gates, model, rows, batch):
    """The batch after some passes with each of the gates in turn."""
    solver = EM(PASSES, tol=1e-8 / rows.total_weight, gradient_tol=1e-4)
    for gate in gates:
        on_the_way = model._replace(gate=gate)
        batch = solver.run(on_the_way, batch, engine_for(rows, on_the_way)).params
    return batch


def settled(model: MoEModel, engine, solver: EM, result: EMResult) -> EMResult:
    """A run that a jump has blocked, taken on until the experts are stationary given the gate.

    Experts alone and both parts in turn, until neither rises. Such an end is `Status.JUMP`.
    """
    held = model._replace(gate=HeldGate(model.gate))
    still = engine_for(engine.rows, held, engine.n_jobs)
    for _ in range(ROUNDS):
        if result.status[0] is not Status.STALLED:
            return result
        alone = solver.run(held, result.params, still)
        if alone.status[0] is not Status.CONVERGED:
            return result
        both = solver.run(model, alone.params, engine)
        blocked = both.status[0] is Status.STALLED
        if blocked and not both.objective[0] > alone.objective[0] + RISE:
            both = both._replace(
                params=alone.params, objective=alone.objective, status=[Status.JUMP]
            )
        result = both._replace(
            path=[*result.path, *alone.path, *both.path],
            n_pass=result.n_pass + alone.n_pass + both.n_pass,
        )
    return result
