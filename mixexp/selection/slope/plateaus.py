"""Data-driven slope estimation and the dimension jump, on tables of models."""

from __future__ import annotations

import itertools

import numpy as np
from numpy.typing import NDArray

from mixexp.selection.slope.regressions import CAPUSHE, CONVERGED, suffix_lines
from mixexp.selection.slope.result import (
    DimensionJump,
    Floats,
    Integers,
    Plateau,
    SlopeEstimation,
    SlopeNote,
    SlopeTable,
)

TIE = 1e-10  # scores closer than this, relative to their range, tie: rounding must not decide
CELLS = 1 << 18  # scores computed at a time


def slope_table(complexity: Floats, contrast: Floats, penalty: Floats) -> SlopeTable:
    """The models with finite values, in order of penalty and contrast.

    Raises
    ------
    ValueError
        If the penalty falls somewhere as the complexity rises.
    """
    given = np.isfinite(complexity) & np.isfinite(contrast) & np.isfinite(penalty)
    order = np.flatnonzero(given)
    order = order[np.lexsort((contrast[order], penalty[order]))]
    by_size = order[np.lexsort((penalty[order], complexity[order]))]
    if np.any(np.diff(penalty[by_size]) < 0):
        raise ValueError(
            "the penalty must not fall as the complexity rises; order the penalty shape as the "
            "complexities, or leave it out to use the complexity itself."
        )
    notes = () if given.all() else (SlopeNote.LEFT_OUT,)
    return SlopeTable(order, penalty[order], complexity[order], contrast[order], notes)


def distinct(table: SlopeTable) -> SlopeTable:
    """Of the models with one penalty only that with the smallest contrast."""
    keep = np.concatenate([[True], np.diff(table.penalty) > 0])
    return SlopeTable(
        table.order[keep],
        table.penalty[keep],
        table.complexity[keep],
        table.contrast[keep],
        table.notes,
    )


def estimate_slope(
    table: SlopeTable,
    *,
    regression: str,
    share: float,
    least_length: int,
    factor: float,
    least_points: int,
    capushe: bool,
) -> SlopeEstimation:
    """Data-driven slope estimation on distinct models; see `SlopeHeuristic`."""
    stopping = CAPUSHE if capushe else CONVERGED
    lines = suffix_lines(table.penalty, -table.contrast, regression, least_points, stopping)
    places, tied = _selected(table, factor * lines.slopes, 0.0 if capushe else TIE)
    plateaus = _plateaus(places, table.order)
    needed = least_length if least_length > 0 else share * len(places)
    long = [i for i, plateau in enumerate(plateaus) if plateau.length >= needed]
    if not long:
        longest = max(plateau.length for plateau in plateaus)
        raise ValueError(
            f"no plateau of selected models is long enough: the longest has {longest} of "
            f"{len(places)} regressions, and {needed:g} are needed. Lower share (or least_length)."
        )
    best = plateaus[long[-1]]
    middle = best.start + best.length // 2
    kappa = float(lines.slopes[middle])
    on_it = lines.slopes[best.start : best.stop]
    if capushe and best.stop == len(places):
        # capushe's end mark of the last plateau leaves out its last slope, and runs backwards
        # to the one before where the plateau has one slope alone
        on_it = on_it[:-1] if best.length > 1 else lines.slopes[best.start - 1 : best.stop]
    said = {
        SlopeNote.NEGATIVE_SLOPES: bool(np.any(lines.slopes < 0)),
        SlopeNote.NEGATIVE_CHOSEN: kappa <= 0,
        SlopeNote.NOT_CONVERGED: not capushe and not lines.converged.all(),
        SlopeNote.TIED_MODELS: bool(tied[best.start : best.stop].any()),
        SlopeNote.LARGEST_CHOSEN: best.model == table.order[-1],
    }
    return SlopeEstimation(
        table=table,
        slopes=lines.slopes,
        intercepts=lines.intercepts,
        models=table.order[places],
        plateaus=plateaus,
        plateau=long[-1],
        slope_interval=(float(on_it.min()), float(on_it.max())),
        share=(best.length + 1) / (len(places) + 1),
        line=middle,
        kappa_hat=kappa,
        kappa_opt=factor * kappa,
        chosen=best.model,
        notes=table.notes + tuple(note for note, true in said.items() if true),
    )


def _selected(table: SlopeTable, kappas: Floats, tie: float) -> tuple[Integers, NDArray[np.bool_]]:
    """Places in the table that minimise contrast + kappa penalty, and where several do."""
    places, tied = np.empty(len(kappas), dtype=np.intp), np.zeros(len(kappas), dtype=bool)
    step = max(1, CELLS // len(table.penalty))
    for first in range(0, len(kappas), step):
        block = slice(first, first + step)
        scores = table.contrast + kappas[block, None] * table.penalty
        smallest = scores.min(axis=1, keepdims=True)
        near = scores <= smallest + tie * np.ptp(scores, axis=1, keepdims=True)
        places[block], tied[block] = near.argmax(axis=1), near.sum(axis=1) > 1
    return places, tied


def _plateaus(places: Integers, order: Integers) -> tuple[Plateau, ...]:
    edges = np.concatenate([[0], np.flatnonzero(np.diff(places)) + 1, [len(places)]])
    return tuple(
        Plateau(int(start), int(stop), int(order[places[start]]))
        for start, stop in itertools.pairwise(edges)
    )


def jump(
    table: SlopeTable, *, factor: float, width: float, threshold: float, capushe: bool
) -> DimensionJump:
    """The dimension jump on a table of models; see `SlopeHeuristic`."""
    kappa, places = _path(table, 0.0 if capushe else TIE)
    complexity = table.complexity[places]
    jumps = complexity[:-1] - complexity[1:]
    if not len(jumps):
        raise ValueError(
            "there is no dimension jump: the model with the smallest penalty has the smallest "
            "contrast already. Add larger models, or fit them better."
        )
    notes = []
    if threshold > 0:
        below = np.flatnonzero(complexity < threshold)
        if not len(below) or below[0] == 0:
            raise ValueError(
                f"threshold={threshold:g} lies outside the complexities that are selected, "
                f"{complexity.min():g} to {complexity.max():g}."
            )
        largest = int(below[0]) - 1
    else:
        largest = _last_largest(jumps)
        if np.sum(jumps == jumps[largest]) > 1:
            notes.append(SlopeNote.TIED_JUMPS)
    kappa_hat = float(kappa[largest + 1])
    chosen = int(table.order[places[_place(kappa, factor * kappa_hat)]])
    area: tuple[float, float] | None = None
    area_models: tuple[int, ...] = ()
    if width > 0:
        drops = _area_drops(kappa, complexity, width, capushe)
        found = _last_largest(drops)
        if np.sum(drops == drops[found]) > 1:
            notes.append(SlopeNote.TIED_AREAS)
        high = float(kappa[found + 1])
        area = (high * (1 - width) / (1 + width), high)
        first, last = (_place(kappa, factor * end) for end in area)
        area_models = tuple(int(i) for i in table.order[places[first : last + 1]])
    if chosen == table.order[-1]:
        notes.append(SlopeNote.LARGEST_CHOSEN)
    return DimensionJump(
        table=table,
        kappa=kappa,
        models=table.order[places],
        jumps=jumps,
        jump=largest,
        kappa_hat=kappa_hat,
        kappa_opt=factor * kappa_hat,
        chosen=chosen,
        area=area,
        area_models=area_models,
        notes=table.notes + tuple(notes),
    )


def _path(table: SlopeTable, tie: float) -> tuple[Floats, Integers]:
    """Constants at which the selected model changes, and its places: the lower convex hull."""
    place = int(np.argmin(table.contrast))
    kappas, places = [0.0], [place]
    while True:
        # sorted by penalty and contrast: all models with a smaller penalty come first
        left = np.flatnonzero(
            (table.penalty[:place] < table.penalty[place])
            & (table.contrast[:place] > table.contrast[place])
        )
        if not len(left):
            return np.array(kappas), np.array(places, dtype=np.intp)
        rise = table.contrast[left] - table.contrast[place]
        ratio = rise / (table.penalty[place] - table.penalty[left])
        place = int(left[np.argmax(ratio <= ratio.min() * (1 + tie))])
        kappas.append(float(ratio.min()))
        places.append(place)


def _place(kappa: Floats, constant: float) -> int:
    """Index of the model that a constant selects."""
    return int(np.searchsorted(kappa, constant, side="right")) - 1


def _area_drops(kappa: Floats, complexity: Floats, width: float, capushe: bool) -> Floats:
    """Fall of the complexity over [kappa_i (1 - w) / (1 + w), kappa_i], i = 1..L.

    capushe compares with the model before kappa_i, which leaves out the jump at kappa_i itself.
    """
    low = kappa[1:] * (1 - width) / (1 + width)
    before = complexity[np.searchsorted(kappa, low, side="right") - 1]
    return before - (complexity[:-1] if capushe else complexity[1:])


def _last_largest(values: Floats) -> int:
    return len(values) - 1 - int(np.argmax(values[::-1]))
