"""Engine ``gpu`` against its floor and against the CPU, in one run on one machine.

``python -m benchmarks.gpu [--quick] [--float32]`` needs a CUDA device and CuPy. The floor of a
pass is what it cannot do without, by cuBLAS with ready-made factors: the predictors X W and X B,
the weighted sums of the designs, the Gram matrices of every expert and of every pair of classes (by
the cheaper of two ways: one product with the products of columns, or one of weighted columns for
each matrix), and one read of X at the bandwidth of a copy. Times are wall seconds, medians of
repeats, after a warm-up.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterator
from statistics import median

import numpy as np

from mixexp import MoERegressor
from mixexp.em.device import GPU, DeviceMatrix, DeviceRows, array_module
from mixexp.em.driver import EM
from mixexp.em.engines import GpuEngine, MemoryEngine
from mixexp.em.params import tree_map

from .problems import build, disturbed, simulate, start_from
from .timing import Line, wall

SIZES = [(10**7, 20, 8), (10**6, 10, 4), (10**6, 50, 8), (10**5, 10, 4)]
QUICK = [(10**5, 10, 4), (10**4, 20, 8)]
BAR = {(10**7, 20, 8): "<= 2"}
FIT_PASSES = 30
CORES = os.cpu_count() or 1


class Stopwatch:
    """Wall seconds of functions of the device: the queue is empty before and after each call."""

    def __init__(self, xp, repeats):
        self.xp, self.repeats = xp, repeats

    def __call__(self, function) -> float:
        synchronize = self.xp.cuda.Device().synchronize

        def whole():
            function()
            synchronize()

        whole()
        return median(wall(whole) for _ in range(self.repeats))


def floor_functions(engine: GpuEngine):
    """{name: function} of the products of one pass, over all blocks of an engine.

    "columns" and "weighted" are two ways to the same Gram matrices.
    """
    kernel = engine.kernel
    xp, m = kernel.xp, kernel.blocks.m
    blocks = list(kernel.blocks)
    scores, grams = kernel.rows_kernel.scores, kernel.rows_kernel.grams
    n_scores, n_grams = sum(scores[:2]), sum(grams[:2])
    most = max(block.expert.values.shape[0] for block in blocks)
    dtype = kernel.rows_kernel.dtype
    U = xp.asarray(np.full(n_scores * most, 0.5))
    V = xp.asarray(np.full(n_grams * most, 0.5, dtype))
    coef = xp.asarray(np.full((engine.kernel.sizes[1], 2 * kernel.model.K), 0.1))
    # left and right factors of Gram matrices of weighted columns, a tile at a time
    weighted = {b.expert.values.shape: b.expert.values.astype(dtype) for b in blocks}

    def tiles(flat, block, J):
        padded = block.expert.values.shape[0]
        return flat[: J * padded].reshape(padded // m, J, m)

    def product(flat, J, design):
        return lambda: [
            xp.matmul(tiles(flat, b, J), design(b).reshape(b.expert.values.shape[0] // m, m, -1))
            for b in blocks
        ]

    def each_weighted():
        for b in blocks:
            other = weighted[b.expert.values.shape]
            other = other.reshape(-1, m, other.shape[1])
            turned = other.reshape(other.shape[0], other.shape[2], m)  # of that shape, no more
            for _ in range(n_grams):
                xp.matmul(turned, other)

    functions = {
        "predictors": lambda: [xp.matmul(b.expert.values, coef) for b in blocks],
        "scores": product(U, n_scores, lambda b: b.expert.values),
        "weighted": each_weighted,
    }
    if blocks[0].expert.products is not None:  # else they are the dearer way
        functions["columns"] = product(V, n_grams, lambda b: b.expert.products)
    return functions


def floor_of(engine: GpuEngine, X, stopwatch) -> dict[str, float]:
    """Seconds of the floor's parts; ``grams`` is the cheaper of the two ways."""
    times = {name: stopwatch(function) for name, function in floor_functions(engine).items()}
    # a copy reads and writes: one read is half of it
    read = stopwatch(lambda: X.copy()) / 2
    return {
        "predictors": times["predictors"],
        "scores": times["scores"],
        "grams": min(times[way] for way in ("columns", "weighted") if way in times),
        "read": read,
    }


def figures(xp, sizes, repeats=7, dtype=np.float64, cores=CORES) -> Iterator[Line]:
    """The lines of all sizes: passes over their floor and over the CPU, EM runs, whole fits."""
    for n, p, K in sizes:
        X, y, labels = simulate(n, p, K)
        X = X.astype(dtype, copy=False)
        case = f"({n:,}, {p}, {K}) {np.dtype(dtype).name}"
        yield from _engines(xp, X, y, K, labels, case, Stopwatch(xp, repeats), cores)
        yield _whole_fit(xp.asarray(X), X, y, K, case, cores)


def _engines(xp, X, y, K, labels, case, stopwatch, cores) -> Iterator[Line]:
    """One pass and some passes of EM on both engines."""
    model, rows = build(X, y, K)
    start = tree_map(lambda leaf: np.asarray(leaf)[None].copy(), model.initial(rows))
    rng = np.random.default_rng(1)
    start.gate.coef[:] = 0.3 * rng.normal(size=start.gate.coef.shape)
    start.expert.coef[:] += 0.3 * rng.normal(size=start.expert.coef.shape)
    on_it = xp.asarray(X)
    engine = GpuEngine(DeviceRows(DeviceMatrix(on_it, GPU()), *rows[1:]), model)
    one = stopwatch(lambda: engine.run(model, start))
    parts = floor_of(engine, on_it, stopwatch)
    floor = sum(parts.values())
    note = ", ".join(f"{name} {1e3 * seconds:.2f}" for name, seconds in parts.items())
    kept = "kept" if engine.kernel.blocks.kept else "made in every pass"
    bar = BAR.get((*X.shape, K), "") if X.dtype == np.float64 else ""
    made_of = f"{1e3 * one:.2f} ms and {1e3 * floor:.2f} ms ({note}); designs {kept}"
    yield Line("gpu pass", "pass / floor", case, one / floor, bar, made_of)
    memory = MemoryEngine(rows, model, n_jobs=cores)
    memory.run(model, start)
    host = median(wall(lambda: memory.run(model, start)) for _ in range(3))
    made_of = f"{1e3 * host:.1f} ms with {cores} threads, {1e3 * one:.2f} ms"
    yield Line("gpu pass", "CPU / GPU", case, host / one, "", made_of)
    start = start_from(model, rows, disturbed(labels, K))
    yield _same_run({"cpu": memory, "gpu": engine}, model, start, case)


def _same_run(engines, model, start, case) -> Line:
    """The same passes of EM from the same start on both."""
    solver = EM(max_passes=FIT_PASSES, tol=0)
    results = {}

    def run(name):
        results[name] = solver.run(model, start, engines[name])

    seconds = {name: wall(lambda name=name: run(name)) for name in engines}
    gap = abs(float(results["gpu"].objective[0] - results["cpu"].objective[0]))
    made_of = f"{seconds['cpu']:.2f} s and {seconds['gpu']:.2f} s; objectives differ by {gap:.1e}"
    ratio = seconds["cpu"] / seconds["gpu"]
    return Line("gpu fit", f"CPU / GPU, {FIT_PASSES} passes", case, ratio, "", made_of)


def _whole_fit(on_it, X, y, K, case, cores) -> Line:
    """`MoERegressor.fit` with its search for a start, which is on the host in both."""
    gpu = MoERegressor(K)
    cpu = MoERegressor(K, n_jobs=cores)
    seconds = wall(lambda: cpu.fit(X, y)), wall(lambda: gpu.fit(on_it, y))
    gap = abs(cpu.loglik_ - gpu.loglik_) / len(y)
    made_of = (
        f"{seconds[0]:.1f} s and {seconds[1]:.1f} s; {cpu.n_iter_} and {gpu.n_iter_} passes, "
        f"log-likelihoods differ by {gap:.1e} a row"
    )
    return Line("gpu fit", "CPU / GPU, fit()", case, seconds[0] / seconds[1], "", made_of)


def main(arguments=None):
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gpu", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="small sizes")
    parser.add_argument("--float32", action="store_true", help="X in float32")
    chosen = parser.parse_args(arguments)
    try:
        xp = array_module()
    except (ImportError, RuntimeError) as error:
        raise SystemExit(f"benchmarks.gpu measures nothing here. {error}") from None
    print(f"CuPy {xp.__version__}, device {_name_of(xp)}, {CORES} CPU cores", flush=True)
    sizes = QUICK if chosen.quick else SIZES
    for line in figures(xp, sizes, dtype=np.float32 if chosen.float32 else np.float64):
        verdict = {True: "meets", False: "MISSES", None: ""}[line.meets]
        print(
            f"{line.section:9s} {line.what:24s} {line.case:26s} {line.value:8.3g} {line.bar:6s} "
            f"{verdict:6s} {line.note}",
            flush=True,
        )


def _name_of(xp):
    return xp.cuda.runtime.getDeviceProperties(xp.cuda.Device().id)["name"].decode()


if __name__ == "__main__":
    main()
