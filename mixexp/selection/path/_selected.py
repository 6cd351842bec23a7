"""What the fits to some of the rows use, place by place of a grid."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from mixexp.em import wide
from mixexp.em.model import MoEModel
from mixexp.em.params import MoEParams
from mixexp.em.rows import Rows
from mixexp.em.starts.table import compact
from mixexp.em.threads import single_threaded_blas
from mixexp.selection.path._chain import (
    Strengths,
    at_strengths,
    candidates,
    expert_order,
    responsibilities,
    walk,
)
from mixexp.selection.path._offered import Offered
from mixexp.selection.path._setting import Setting

Mask = NDArray[np.bool_]


class Selected(NamedTuple):
    """The columns in use at T places, the chains of a grid one after the other.

    Attributes
    ----------
    gate : (T, p_gate) bool
    expert : (T, K, p_expert) bool
        Only columns that a penalty decides about.
    reached : (T,) bool
        Places with a fit of their own; others repeat the last one before.
    """

    gate: Mask
    expert: Mask
    reached: Mask


def selected_by(setting: Setting, index, reference: list[list[MoEParams]]) -> Selected:
    """What the fits of some of the rows use.

    Parameters
    ----------
    setting : Setting
        Of all rows.
    index : array of row numbers
    reference : list of the chains' parameters
        Fits of all rows, whose numbers of experts are taken over.
    """
    model, rows = setting.model, compact(setting.given.take(index))
    plan = setting.plan_of(rows)
    chains = []
    with single_threaded_blas():
        null = wide.null_start(model, rows, plan.start, plan.seed)
        for places, known in zip(setting.chains, reference, strict=True):
            fits = [fit.params for fit in walk(model, rows, places, plan, null).fits]
            chains.append(_used(model, rows, places, fits, known))
    return within(chains, model, plan.max_columns)


def _used(
    model: MoEModel,
    rows: Rows,
    places: Sequence[Strengths],
    fits: list[MoEParams],
    known: list[MoEParams],
) -> Selected:
    """What the fits of one chain use, with their experts numbered as the known ones."""
    T, offered = len(places), candidates(model)
    gate = np.zeros((T, len(offered.gate)), dtype=bool)
    expert = np.zeros((T, model.K, len(offered.expert)), dtype=bool)
    for t, params in enumerate(fits):
        gate[t] = (params.gate.coef[..., 1:] != 0).any(axis=0)
        slopes = params.expert.coef[..., 1:] != 0
        own = slopes.any(axis=tuple(range(1, slopes.ndim - 1)))
        expert[t] = own[_order(model, rows, places, params, known, t)]
    reached = np.arange(T) < len(fits)
    return Selected(gate[:, offered.gate], expert[:, :, offered.expert], reached)


def _order(model, rows, places, params, known, t):
    """(K,) the experts of the fit at place t, in the order of the known fit there or above."""
    if not known:
        return np.arange(model.K)
    above = min(t, len(known) - 1)
    wanted = responsibilities(at_strengths(model, places[above]), rows, known[above])
    return expert_order(at_strengths(model, places[t]), rows, params, wanted)


def within(chains: list[Selected], model: MoEModel, max_columns: float) -> Selected:
    """The selections as long as all of them together use no more columns than allowed.

    All chains walk down together, so that the limit holds for the whole grid; from there on,
    and where a chain has ended, its last selection stays.
    """
    kept = used_together(chains, model) <= max_columns
    out = []
    for one in chains:
        reached = one.reached & kept
        length = int(reached.sum())  # places are reached from the first one on
        stay = np.minimum(np.arange(len(kept)), max(length - 1, 0))
        some = length > 0
        out.append(Selected(one.gate[stay] & some, one.expert[stay] & some, reached))
    return Selected(*(np.concatenate(parts) for parts in zip(*out, strict=True)))


def used_together(chains: Sequence[Selected], model: MoEModel):
    """(T,) number of columns used at some place down to each, in gate or experts of any chain."""
    offered = Offered.of(model)
    used = [offered.parts(one.gate, one.expert)["any"] for one in chains]
    return np.maximum.accumulate(np.any(used, axis=0), axis=0).sum(axis=1)
