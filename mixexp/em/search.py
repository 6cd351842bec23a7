"""Which search for a start serves which model."""

from __future__ import annotations

from .approached import approached_start, led
from .arranged import arranged_start
from .assigned import assigned_start
from .coarse import coarse_start
from .contained import contained_start
from .decided import decided
from .informed import informed_start
from .known import check_possible, known_gate_start
from .model import MoEModel
from .params import take
from .start import StartResult


def search(model: MoEModel, rows, start, seed: int, given=(), inside=()) -> StartResult:
    """The start of a fit.

    Parameters
    ----------
    start : MultiStart or None
        None: ``given[0]``.
    given : sequence of MoEParams
        Parameters to try besides the start's own candidates.
    inside : sequence of MoEParams
        What families that this one contains have found.
    """
    if model.gate.known:
        check_possible(model, rows)
    if start is None:
        best = led(model, rows, given[0]) if model.gate.jumps else given[0]
        return StartResult(best, [])
    way = _detour(model, rows) or _straight
    found = way(model, rows, start, seed, given, inside)
    found = decided(model, rows, found, start.table_size, seed)
    order = model.gate.numbering(found.params.gate) if way is _straight else None
    return found if order is None else found._replace(params=take(found.params, order))


def _detour(model, rows):
    """The search of models whose candidates come from simpler ones; None where there is none."""
    if model.gate.jumps or model.gate.known:
        return _by_a_simpler_gate
    if rows.prior is not None:
        return _informed
    return _assigned if hasattr(model.expert, "members") else None


def _by_a_simpler_gate(model, rows, start, seed, given, inside):
    def search_simpler(simpler, rows):
        return search(simpler, rows, start, seed, given if model.gate.jumps else [])

    own = [params for params in given if len(params.gate[0]) == model.K]
    detour = approached_start if model.gate.jumps else known_gate_start
    return detour(model, rows, start, seed, [*own, *inside], search_simpler)


def _informed(model, rows, start, seed, given, inside):
    return informed_start(model, rows, start, seed, [*given, *inside])


def _assigned(model, rows, start, seed, given, inside):
    return assigned_start(model, rows, start, seed, given)


def _straight(model, rows, start, seed, given, inside):
    own = [params for params in given if len(params.gate[0]) == model.K]
    if model.expert.points(rows.y) is not rows.y:
        return coarse_start(model, rows, start, seed, given)
    if inside and len(own) == len(given):
        return contained_start(model, rows, start, seed, [*own, *inside])
    if model.gate.has_nodes:
        return arranged_start(model, rows, start, seed, given)
    return start.search(model, rows, seed=seed, given=given)
