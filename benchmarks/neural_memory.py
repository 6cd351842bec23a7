"""Peak memory of forward and backward of the dropless layer, in a process of its own.

Bar: 1.4 x that of a dense feed-forward network on the same number of routed rows, plus what the
gradients of all experts hold. Peaks are resident memory above what stood before the pass (units,
weights, code); every large tensor is a mapping of its own that returns to the system when freed.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from .neural import SHAPES
from .timing import Line

ROOT = Path(__file__).resolve().parents[1]
BAR = 1.4
CODE = """
import sys, torch
from benchmarks.neural import SHAPES, build, tensors

torch.set_num_threads(1)

def status(name):
    with open("/proc/self/status") as file:
        return int(next(line for line in file if line.startswith(name)).split()[1]) / 1024

def peak(function):
    function()  # code and workspaces of the libraries
    with open("/proc/self/clear_refs", "w") as file:
        file.write("5")
    before = status("VmRSS")
    function()
    return status("VmHWM") - before

shape = SHAPES[sys.argv[1]]
T, d, h, E, k = shape
if sys.argv[2] == "layer":
    layer = build(shape, torch.float32)
    (x,), (grad,) = tensors((T, d), dtype=torch.float32), tensors((T, d), dtype=torch.float32)
    print(peak(lambda: torch.autograd.grad(layer(x), [x, *layer.parameters()], grad)))
else:
    weights = tensors((d, h), (h, d), dtype=torch.float32)
    (x,), (grad,) = (tensors((T * k, d), dtype=torch.float32) for _ in range(2))
    dense = lambda: torch.nn.functional.gelu(x @ weights[0]) @ weights[1]
    print(peak(lambda: torch.autograd.grad(dense(), [x, *weights], grad)))
"""


def neural_memory(names=("A", "B", "C", "D")) -> Iterator[Line]:
    """One line a shape; nothing where the system has no /proc."""
    if not Path("/proc/self/clear_refs").exists():
        return
    for name in names:
        _, d, h, E, _ = SHAPES[name]
        layer, dense = _peak(name, "layer"), _peak(name, "dense")
        gradients = E * 2 * d * h * 4 / 2**20
        yield Line(
            "neural", "peak memory / (dense + gradients)", f"{name} float32",
            layer / (dense + gradients), f"<= {BAR}",
            f"{layer:.0f} MB; dense {dense:.0f} MB, gradients of the experts {gradients:.0f} MB",
        )  # fmt: skip


def _peak(name: str, what: str) -> float:
    """Megabytes."""
    out = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", CODE, name, what],
        cwd=ROOT,
        env={**os.environ, "MALLOC_MMAP_THRESHOLD_": "65536", "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=True,
    )
    return float(out.stdout.split()[-1])
