"""(b) Whole fits against R's flexmix and mixtools and the Python package cgmm.

Same data, same start (true labels with 30 % drawn anew), softmax gate on all columns. A peer's
pass is one E-step and its full M-step: (CPU of m passes - CPU of one) / (m - 1). flexmix is the
only one of them with a softmax gate for any K and p; mixtools fits constant proportions and is
listed for comparison. A program that is not installed is left out. cgmm is looked for in the
interpreter that CGMM_PYTHON names.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

import numpy as np

from mixexp.em.driver import EM
from mixexp.em.engines import MemoryEngine

from .problems import build, disturbed, simulate, start_from
from .timing import Line, cpu

HERE = Path(__file__).resolve().parent
SIZES = [(10**4, 10, 4), (10**4, 50, 4), (10**5, 10, 4), (10**5, 50, 4)]
BARS = {10: ">= 60", 50: ">= 25"}
THREADS = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}


def answer_of(command, **options):
    """(CPU seconds, passes, log-likelihood) that a peer prints, or None."""
    try:
        out = subprocess.run(
            list(map(str, command)),
            env={**os.environ, **THREADS},
            capture_output=True,
            text=True,
            check=True,
            **options,
        )
    except (OSError, subprocess.CalledProcessError, subprocess.TimeoutExpired):
        return None
    line = next((line for line in out.stdout.splitlines() if line.startswith("ANSWER")), None)
    return None if line is None else tuple(map(float, line.split()[1:]))


class Peer:
    """One program: how to call it, and whether it is there."""

    def __init__(self, name, command):
        self.name, self.command = name, command

    def __call__(self, folder, n, p, K, passes):
        return answer_of([*self.command, folder, n, p, K, passes], timeout=900)

    def per_pass(self, folder, n, p, K, m):
        one, many = self(folder, n, p, K, 1), self(folder, n, p, K, m)
        if one is None or many is None or many[1] <= one[1]:
            return None
        return (many[0] - one[0]) / (many[1] - one[1])


def peers():
    rscript = shutil.which("Rscript")
    for package in ("flexmix", "mixtools"):
        if rscript and _has_package(rscript, package):
            yield Peer(package, [rscript, HERE / "peers_r" / f"{package}.R"])
    python = os.environ.get("CGMM_PYTHON")
    if python:
        yield Peer("cgmm", [python, HERE / "cgmm_passes.py"])


def _has_package(rscript, package):
    code = f"quit(status = !requireNamespace('{package}', quietly = TRUE))"
    return subprocess.run([rscript, "-e", code], capture_output=True).returncode == 0


def _store(folder, X, y, labels):
    y.tofile(folder / "y.bin")
    np.asfortranarray(X).T.tofile(folder / "X.bin")
    labels.astype(float).tofile(folder / "labels.bin")


def _own_per_pass(model, rows, start, m=12):
    engine = MemoryEngine(rows, model)

    def run(passes):
        return lambda: EM(max_passes=passes, tol=-1).run(model, start, engine)

    run(1)()
    times = [(cpu(run(m)), cpu(run(1))) for _ in range(3)]
    return float(np.median([(many - one) / (m - 1) for many, one in times]))


def whole_fits(quick=False):
    found = list(peers())
    if not found:
        yield Line(
            "whole fits", "no peer is installed", "-", None, "", "R: flexmix, mixtools; cgmm"
        )
    for n, p, K in SIZES[:1] if quick else SIZES:
        X, y, labels = simulate(n, p, K)
        labels = disturbed(labels, K)
        model, rows = build(X, y, K)
        start = start_from(model, rows, labels)
        own = _own_per_pass(model, rows, start)
        case = f"({n:,}, {p}, {K})"
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            _store(folder, X, y, labels)
            for peer in found:
                # mixtools and cgmm take seconds a pass and are only compared where that is short
                if peer.name != "flexmix" and (n, p) != (10**4, 10):
                    continue
                seconds = peer.per_pass(folder, n, p, K, 5 if n == 10**4 else 3 if p == 10 else 2)
                if seconds is None:
                    continue
                bar = {"flexmix": BARS[p], "cgmm": ">= 200"}.get(peer.name, "")
                note = f"{1e3 * seconds:.1f} ms and {1e3 * own:.2f} ms a pass"
                what = f"a pass: {peer.name} / mixexp (CPU)"
                yield Line("whole fits", what, case, seconds / own, bar, note)
                if peer.name == "flexmix" and p == 10:
                    yield from _to_convergence(peer, folder, model, rows, labels, case)


def _to_convergence(peer, folder, model, rows, labels, case):
    """Time to the log-likelihood at which the peer stops, start included on both sides."""
    answer = peer(folder, rows.n, len(model.gate_columns), model.K, 0)
    if answer is None:
        return
    seconds, passes, loglik = answer

    def fit():
        def reached(state):
            return bool(state.objective[0] * rows.n >= loglik)

        engine, start = MemoryEngine(rows, model), start_from(model, rows, labels)
        return EM(max_passes=500).run(model, start, engine, callback=reached)

    result = fit()
    own = float(np.median([cpu(fit) for _ in range(5)]))
    reached = result.objective[0] * rows.n
    yield Line(
        "whole fits",
        f"to the log-likelihood of {peer.name}: {peer.name} / mixexp (CPU)",
        case,
        seconds / own if reached >= loglik - 1e-3 else None,
        ">= 50",
        f"{seconds:.2f} s in {passes:.0f} passes, {own:.3f} s in {result.n_pass}; "
        f"{loglik:.3f} and {reached:.3f}",
    )
