"""CPU time, interleaved repeats, and the rows of the table."""

from __future__ import annotations

import time
from statistics import median
from typing import NamedTuple


class Line(NamedTuple):
    """One figure: what was measured on which case, its value, and the bar it should meet.

    ``bar`` is "<= 1.5", ">= 60" or "" (reported only); ``note`` says what value is made of.
    """

    section: str
    what: str
    case: str
    value: float | None
    bar: str = ""
    note: str = ""

    @property
    def meets(self) -> bool | None:
        if not self.bar or self.value is None:
            return None
        sign, limit = self.bar.split()
        return self.value <= float(limit) if sign == "<=" else self.value >= float(limit)


def cpu(function) -> float:
    """CPU seconds of this process, all its threads included."""
    began = time.process_time()
    function()
    return time.process_time() - began


def wall(function) -> float:
    began = time.perf_counter()
    function()
    return time.perf_counter() - began


def interleaved(functions: dict, repeats: int, clock=cpu) -> dict:
    """Median seconds of each function, run in turns so that a busy machine disturbs all alike."""
    times: dict = {name: [] for name in functions}
    for _ in range(repeats):
        for name, function in functions.items():
            times[name].append(clock(function))
    return {name: median(values) for name, values in times.items()}
