"""(a) One pass over the rows against its floor, measured in the same run.

The floor is what the pass cannot do without, by BLAS and numpy with ready-made arrays: the
predictors X W and X B, X' diag(r) X for every expert and for every pair of classes (the gate's
information), the 2 n K exponentials, and one stream over X.
"""

from __future__ import annotations

import numpy as np
from threadpoolctl import threadpool_limits

from mixexp.em.engines import MemoryEngine
from mixexp.em.params import tree_map

from .problems import build, simulate
from .timing import Line, interleaved, wall

SIZES = [(10**6, 10, 4), (10**5, 50, 8), (10**5, 2, 2)]
QUICK = [(10**5, 10, 4), (10**4, 50, 8), (10**5, 2, 2)]


def floor_parts(X, K):
    """{name: function} of the floor's parts; every product writes into ready-made arrays."""
    n, p = X.shape
    rng = np.random.default_rng(0)
    design = np.column_stack([np.ones(n), X])
    weighted = design * rng.uniform(size=(n, 1))
    coef = rng.normal(size=(p + 1, K))
    predictors, gram = np.empty((n, K)), np.empty((p + 1, p + 1))
    exponents, exponentials = rng.normal(size=(n, 2 * K)), np.empty((n, 2 * K))

    def products(times):
        for _ in range(times):
            np.matmul(weighted.T, design, out=gram)

    return {
        "predictors": lambda: [np.matmul(design, coef, out=predictors) for _ in range(2)],
        "grams": lambda: products(K),
        "gate": lambda: products(K * (K - 1) // 2),
        "exponentials": lambda: np.exp(exponents, out=exponentials),
        "stream": lambda: X.sum(),
    }


def passes(quick=False):
    for n, p, K in QUICK if quick else SIZES:
        yield from _one_size(n, p, K)


def _one_size(n, p, K):
    case = f"({n:,}, {p}, {K})"
    X, y, _ = simulate(n, p, K)
    model, rows = build(X, y, K)
    rng = np.random.default_rng(1)
    start = tree_map(lambda leaf: np.asarray(leaf)[None].copy(), model.initial(rows))
    start.gate.coef[:] = 0.3 * rng.normal(size=start.gate.coef.shape)
    start.expert.coef[:] += 0.3 * rng.normal(size=start.expert.coef.shape)
    one, two = MemoryEngine(rows, model), MemoryEngine(rows, model, n_jobs=2)
    repeats = 5 if n * p * K > 10**7 else 25
    with threadpool_limits(1):
        functions = {"pass": lambda: one.run(model, start), **floor_parts(X, K)}
        interleaved(functions, 1)
        times = interleaved(functions, repeats)
    floor = sum(seconds for name, seconds in times.items() if name != "pass")
    yield Line(
        "a pass",
        "one thread / floor (CPU)",
        case,
        times["pass"] / floor,
        "<= 1.5",
        f"pass {1e3 * times['pass']:.1f} ms, floor {1e3 * floor:.1f} ms: "
        + ", ".join(f"{k} {1e3 * v:.1f}" for k, v in times.items() if k != "pass"),
    )
    functions = {"one": lambda: one.run(model, start), "two": lambda: two.run(model, start)}
    interleaved(functions, 1)
    # other programs disturb two threads more than one
    walls = interleaved(functions, max(15, repeats), clock=wall)
    yield Line(
        "a pass",
        "one thread / two threads (wall)",
        case,
        walls["one"] / walls["two"],
        ">= 1.7",
        f"{1e3 * walls['one']:.1f} ms and {1e3 * walls['two']:.1f} ms; needs two idle cores",
    )
