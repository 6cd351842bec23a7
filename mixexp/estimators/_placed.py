"""Errors of checks that see a whole block, said of the row that is to blame."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..sources import Block, PlacedError


def checked_by_rows(block: Block, rows, check: Callable[[Any], Any]):
    """``check(rows)``, whose error names the place of the first row that fails alone.

    Parameters
    ----------
    block : Block
    rows : (n,) int array
        Positions in the block.
    check : callable
        Of some of these positions; raises a ValueError where one of them cannot be used, whatever
        the others are.

    Raises
    ------
    PlacedError
        With the message of that row's own check; where it does not depend on the row, as of a
        setting, the ValueError of the check itself.
    """
    try:
        return check(rows)
    except PlacedError:
        raise
    except ValueError as error:
        row = _first_refused(rows, check)
        if row is None:
            raise
        raise PlacedError(f"{block.place_of(int(row))}: {_complaint(rows, row, check)}") from error


def _first_refused(rows, check):
    """The first position that fails alone; None where it fails no otherwise than another."""
    low, high = 0, len(rows)
    while high - low > 1:
        middle = (low + high) // 2
        if _message(check, rows[low:middle]) is None:
            low = middle
        else:
            high = middle
    alone = _message(check, rows[low : low + 1])
    other = rows[-1:] if low < len(rows) - 1 else rows[:1]
    by_setting = len(rows) > 1 and _message(check, other) == alone
    return None if alone is None or by_setting else rows[low]


def _complaint(rows, row, check) -> str:
    return str(_message(check, rows[rows == row]))


def _message(check, rows) -> str | None:
    try:
        check(rows)
    except ValueError as error:
        return str(error)
    return None
