"""Fits at falling temperatures: every stage of a gate begins where the one before it arrived."""

from __future__ import annotations

from sklearn.base import clone

from .driver import EM
from .engines import MemoryEngine
from .model import MoEModel
from .params import MoEParams, stack, take
from .rows import Rows

PASSES = 5  # at a temperature: at its own optimum bounded scores may have become thresholds


def annealed(model: MoEModel, rows: Rows, solver: EM, n_jobs: int, params) -> list[MoEParams]:
    """Where the stages of the gate lead from these parameters; empty for a gate without any."""
    stages = model.gate.stages()
    brief = clone(solver).set_params(checkpoint=None, max_passes=PASSES)
    for gate in stages:
        stage = model._replace(gate=gate)
        result = brief.run(stage, stack([params]), MemoryEngine(rows, stage, n_jobs))
        params = take(result.params, 0)
    return [params] if stages else []
