"""`python -m benchmarks [--quick] [--only a-pass small ...]`: the table of ratios, and its JSON."""

from __future__ import annotations

import argparse
import json
import os
import platform
import time
from datetime import date
from pathlib import Path

from .aggregation import aggregation
from .common_start import common_start
from .engines import engines
from .growth import growth
from .memory import memory
from .neural import neural
from .online import online
from .passes import passes
from .paths import paths
from .processes import processes, small_problems
from .slopes import slopes
from .stream import stream
from .tabular import tabular
from .whole_fits import whole_fits

SECTIONS = {
    "passes": passes,
    "small": small_problems,
    "growth": growth,
    "processes": processes,
    "memory": memory,
    "stream": stream,
    "engines": engines,
    "online": online,
    "slopes": slopes,
    "paths": paths,
    "whole-fits": whole_fits,
    "aggregation": aggregation,
    "common-start": common_start,
    "neural": neural,
    "tabular": tabular,
}
LONG = ("tabular",)  # sections with a long version
RESULTS = Path(__file__).resolve().parent / "results"


def show(line):
    value = "-" if line.value is None else f"{line.value:.3g}"
    verdict = {True: "meets", False: "MISSES", None: ""}[line.meets]
    print(
        f"{line.section:11s} {line.what:56s} {line.case:28s} {value:>8s}  "
        f"{line.bar:8s} {verdict:6s} {line.note}",
        flush=True,
    )


def main():
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="smaller sizes: about two minutes")
    parser.add_argument("--full", action="store_true", help="the long version of tabular: hours")
    parser.add_argument("--only", nargs="+", choices=SECTIONS, default=list(SECTIONS))
    arguments = parser.parse_args()
    lines = []
    for name in arguments.only:
        long = {"full": True} if arguments.full and name in LONG else {}
        for line in SECTIONS[name](arguments.quick, **long):
            show(line)
            lines.append(line._asdict() | {"meets": line.meets})
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{time.strftime('%Y%m%d-%H%M%S')}.json"
    path.write_text(
        json.dumps(
            {
                "date": date.today().isoformat(),
                "machine": f"{os.cpu_count()} cores, {platform.machine()}",
                "load": os.getloadavg() if hasattr(os, "getloadavg") else None,
                "quick": arguments.quick,
                "lines": lines,
            },
            indent=1,
            default=lambda value: value.item(),  # numpy's
        )
    )
    print(f"saved in benchmarks/results/{path.name}")


if __name__ == "__main__":
    main()
