"""Fits by way of other settings of a gate: falling temperatures, or a scale before it is free."""

from __future__ import annotations

from sklearn.base import clone

from .driver import EM
from .engines import engine_for
from .model import MoEModel
from .params import MoEParams, stack, take
from .rows import Rows


def annealed(model: MoEModel, rows: Rows, solver: EM, n_jobs: int, params) -> list[MoEParams]:
    """Where the stages of the gate lead from these parameters; empty for a gate without any."""
    stages = model.gate.stages()
    for gate, passes in stages:
        stage = model._replace(gate=gate)
        limit = solver.max_passes if passes is None else min(passes, solver.max_passes)
        brief = clone(solver).set_params(checkpoint=None, max_passes=limit)
        begin = stack([params._replace(gate=gate.adopted(params.gate))])
        params = take(brief.run(stage, begin, engine_for(rows, stage, n_jobs)).params, 0)
    return [params._replace(gate=model.gate.adopted(params.gate))] if stages else []
