"""Paths of strengths: one cell of a study searches for its starts, its neighbours follow it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from mixexp._component import Component
from mixexp.penalties import L2

Ranks = NDArray[np.intp]


class Step(NamedTuple):
    """One cell of a path: its number, and the cells fitted before from whose fits it starts.

    The first step of a path has no cells to start from: it searches.
    """

    cell: int
    neighbours: tuple[int, ...]


def strength_of(value: Any) -> float | None:
    """Strength of a setting of a penalty: a number, or the ``alpha`` of a part; None if neither."""
    if value is None:
        return 0.0
    if isinstance(value, Component):
        value = value.get_params(deep=False).get("alpha")
    if isinstance(value, bool) or not isinstance(value, int | float | np.number):
        return None
    return float(value)


def _without_strength(key: str, value: Any) -> str:
    """What is left of a setting when its strength is taken away."""
    if not _is_strength(key, value):
        return repr(value)
    if isinstance(value, Component) and not isinstance(value, L2):
        return type(value).__name__ + repr(sorted((value.get_params() | {"alpha": 0}).items()))
    return "strength"


def paths(settings: Sequence[Mapping[str, Any]], follow: bool) -> list[list[Step]]:
    """The order in which the cells of a study are fitted.

    Parameters
    ----------
    settings : sequence of mapping
        Settings of the cells, without the number of experts.
    follow : bool
        False: every cell is a path of its own. True: cells that differ in nothing but the
        strengths of their penalties are one path.

    Returns
    -------
    list of list of `Step`
        A path begins in the middle of the grid of its strengths and spreads outwards; a
        neighbour of a cell is a cell fitted before that is nearest to it on that grid.
    """
    if not follow:
        return [[Step(cell, ())] for cell in range(len(settings))]
    groups: dict[str, list[int]] = {}
    for cell, chosen in enumerate(settings):
        kind = repr(sorted((key, _without_strength(key, chosen[key])) for key in chosen))
        groups.setdefault(kind, []).append(cell)
    return [_spread(cells, _ranks([settings[cell] for cell in cells])) for cells in groups.values()]


def _is_strength(key: str, value: Any) -> bool:
    penalty = key.endswith(("penalty", "penalty__alpha"))
    return penalty and strength_of(value) is not None


def _ranks(settings: Sequence[Mapping[str, Any]]) -> Ranks:
    """Places (cells, strengths) of the cells on the grid of their strengths, weakest first."""
    keys = sorted(key for key, value in settings[0].items() if _is_strength(key, value))
    columns = [
        np.unique([strength_of(chosen[key]) for chosen in settings], return_inverse=True)[1]
        for key in keys
    ]
    return np.array(columns, dtype=np.intp).reshape(len(keys), len(settings)).T


def _spread(cells: Sequence[int], ranks: Ranks) -> list[Step]:
    """A path from the middle of the grid outwards; of two middles from the stronger.

    The stronger the penalty, the fewer the optima that owe their height to a few rows.
    """
    apart = np.abs(ranks[:, None] - ranks[None]).sum(axis=2)
    centre = np.quantile(ranks, 0.5, axis=0, method="higher")
    middle = int(np.argmin(np.abs(ranks - centre).sum(axis=1)))
    steps, fitted = [Step(cells[middle], ())], [middle]
    for i in map(int, np.argsort(apart[middle], kind="stable")):
        if i != middle:
            nearest = apart[i, fitted].min()
            near = tuple(cells[j] for j in fitted if apart[i, j] == nearest)
            steps.append(Step(cells[i], near))
            fitted.append(i)
    return steps
