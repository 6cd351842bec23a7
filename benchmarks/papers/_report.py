"""What an experiment returns, how it is written, and trials in two processes."""

from __future__ import annotations

import argparse
import json
import os
import time
import warnings
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from joblib import Parallel, delayed
from matplotlib.figure import Figure
from sklearn.exceptions import ConvergenceWarning

OUT = Path(__file__).resolve().parents[1] / "results" / "papers"
JOBS = 2


class Fact(NamedTuple):
    """One figure: ours, the published one in words, and the target that it should meet.

    ``target`` is ">= 0.95", "<= 3", "in 0.8 1" (both ends included) or "" (reported only).
    """

    what: str
    ours: float
    published: str = ""
    target: str = ""

    @property
    def meets(self) -> bool | None:
        sign, *bounds = self.target.split() or [""]
        limits = [float(bound) for bound in bounds]
        tests = {
            ">=": lambda: self.ours >= limits[0],
            "<=": lambda: self.ours <= limits[0],
            "in": lambda: limits[0] <= self.ours <= limits[1],
        }
        return bool(tests[sign]()) if sign else None


class Report(NamedTuple):
    """Tables by name, facts, a matplotlib figure, and what a reader must know."""

    title: str
    tables: dict[str, pd.DataFrame]
    facts: Sequence[Fact]
    figure: Figure
    notes: Sequence[str] = ()


def trials(function: Callable[..., Any], arguments: Iterable[tuple], n_jobs: int = JOBS) -> list:
    """``function(*arguments)`` for each tuple, in processes of their own."""
    return Parallel(n_jobs=n_jobs)(delayed(_quietly)(function, given) for given in arguments)


def _quietly(function, given):
    """Fits with too many experts, or with a loose stop, are part of the experiments."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        return function(*given)


def write(name: str, report: Report, folder: Path, seconds: float, full: bool) -> None:
    """Tables, facts and picture of a report."""
    folder.mkdir(parents=True, exist_ok=True)
    for key, table in report.tables.items():
        table.to_csv(folder / f"{name}-{key}.csv", index=False)
    report.figure.savefig(folder / f"{name}.png", dpi=110)
    facts = [fact._asdict() | {"meets": fact.meets} for fact in report.facts]
    content = {
        "title": report.title,
        "full": full,
        "seconds": round(seconds, 1),
        "machine": f"{os.cpu_count()} cores",
        "facts": facts,
        "notes": list(report.notes),
    }
    (folder / f"{name}.json").write_text(json.dumps(content, indent=1, default=_plain))


def _plain(value):
    return value.item() if isinstance(value, np.generic) else str(value)


def show(report: Report) -> None:
    """The report in text."""
    print(report.title)
    with pd.option_context("display.width", 160, "display.max_columns", 30):
        for key, table in report.tables.items():
            if len(table) <= 40:
                print(f"\n{key}\n{table.round(4).to_string(index=False)}")
    print()
    for fact in report.facts:
        verdict = {True: "meets", False: "MISSES", None: ""}[fact.meets]
        target = f"target {fact.target}" if fact.target else ""
        print(f"{fact.what:66s} {fact.ours:10.4g}  {verdict:7s}{target:18s} {fact.published}")
    for note in report.notes:
        print(f"- {note}")


def perform(name: str, run: Callable[[bool], Report], full: bool, folder: Path) -> Report:
    """Run an experiment, write it and show it."""
    began = time.perf_counter()
    report = run(full)
    seconds = time.perf_counter() - began
    write(name, report, folder, seconds, full)
    show(report)
    print(f"{seconds:.0f} s; written to {folder}/{name}.*\n", flush=True)
    return report


def parser(description: str | None) -> argparse.ArgumentParser:
    out = argparse.ArgumentParser(description=description)
    out.add_argument("--full", action="store_true", help="the published sizes: up to hours")
    out.add_argument("--out", type=Path, default=OUT, help="folder of the results")
    return out


def main(name: str, run: Callable[[bool], Report], description: str | None) -> None:
    """The command line of one experiment."""
    arguments = parser(description).parse_args()
    perform(name, run, arguments.full, arguments.out)
