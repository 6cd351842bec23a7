"""Whether the fits of a grid may be compared, asked before any of them is made."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from mixexp.selection.study.assemble import Cell
from mixexp.selection.study.chains import build


def check_comparable(template: Any, cells: Sequence[Cell], criterion: Any) -> None:
    """Refuses a grid whose log-likelihoods have no common unit.

    Raises
    ------
    ValueError
        If it mixes families for counts with families for continuous targets; or, unless the
        held-out log-likelihood of y given x decides, gates that model x with gates that do not.
    """
    measures: dict[bool, str] = {}
    joints: dict[bool, str] = {}
    for cell in cells:
        try:
            gate, expert = build(template, cell.settings, 1)._parts()
        except (ValueError, TypeError):
            continue  # the cell's own fit says what is wrong with it
        measures.setdefault(bool(expert.discrete), cell.label)
        joints.setdefault(bool(gate.joint), cell.label)
    if len(measures) == 2:
        raise ValueError(
            f"The grid mixes a count family ({measures[True]}) with a continuous one "
            f"({measures[False]}): their likelihoods cannot be compared. Study them apart."
        )
    if len(joints) == 2 and criterion != "cv":
        raise ValueError(
            f"The grid mixes a gate that models x ({joints[True]}) with one that does not "
            f"({joints[False]}): the first has a likelihood of (x, y), the second of y given x. "
            "Study them apart, or choose by criterion='cv', which compares densities of y given x."
        )
