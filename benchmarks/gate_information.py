"""What the gate's M-step should be given: full information in every pass, or something cheaper.

Three designs from one start: the full Fisher information of each pass; that of every third pass;
and Boehning's constant bound (1992, Annals of the Institute of Statistical Mathematics 44), for
which pi_k pi_l is replaced by 1 / (2 K). Passes are counted to within 1e-6 of the last
log-likelihood; a pass that leaves the information out is charged without the products that make
it, whose cost is measured here. `python -m benchmarks.gate_information`.
"""

from __future__ import annotations

import sys

import numpy as np
from threadpoolctl import threadpool_limits

from mixexp.em.driver import EM
from mixexp.em.engines import MemoryEngine
from mixexp.em.evaluate import Evaluation
from mixexp.em.params import Statistics, take

from .acceleration import cases
from .problems import start_from
from .timing import interleaved

CLOSE = 1e-6
BLOCK = 256


def evaluation(model, engine, template, pairs_of):
    """The map with the gate's pairs replaced by ``pairs_of(number of the pass, pairs)``."""
    counter = [0]

    def evaluate(point):
        params = model.unpack(point, template)
        result = engine.run(model, params)
        gate = result.statistics.gate
        pairs = pairs_of(counter[0], gate.pairs)
        counter[0] += 1
        stats = Statistics(gate._replace(pairs=pairs), result.statistics.expert)
        return Evaluation(
            model.pack(params),
            result.loglik / engine.total_weight - model.penalty(params),
            model.pack(model.m_step(params, stats)),
            model.gradient(params, stats),
        )

    return evaluate


def lagged(every):
    kept = {}

    def pairs_of(number, pairs):
        if number % every == 0:
            kept["pairs"] = pairs
        return kept["pairs"]

    return pairs_of


def bounded(model, rows):
    design = model.gate_design(rows.X)
    gram = design.T @ design / (2 * model.K)
    P = model.K * (model.K - 1) // 2
    return lambda number, pairs: np.broadcast_to(gram, (1, P, *gram.shape)).copy()


def costs(model, rows, start):
    """CPU seconds of a pass, and of its products for the gate's information."""
    engine = MemoryEngine(rows, model)
    q, P = len(model.gate_columns) + 1, model.K * (model.K - 1) // 2
    T = q * (q + 1) // 2
    V, products, out = np.ones((P, BLOCK)), np.ones((T, BLOCK)), np.empty((P, T))

    def gate():
        for _ in range(-(-rows.n // BLOCK)):
            np.matmul(V, products.T, out=out)

    engine.run(model, start)
    with threadpool_limits(1):
        times = interleaved({"pass": lambda: engine.run(model, start), "gate": gate}, 5)
    return times["pass"], min(times["gate"], times["pass"])


def measure(model, rows, labels):
    start = start_from(model, rows, labels)
    template, engine = take(start, slice(0, 1)), MemoryEngine(rows, model)
    designs = {
        "full": (lambda number, pairs: pairs, 1),
        "every third": (lagged(3), 3),
        "Boehning": (bounded(model, rows), np.inf),
    }
    paths = {}
    for name, (pairs_of, _) in designs.items():
        em = EM(max_passes=1500, tol=1e-13, gradient_tol=1e-7)
        state = em._first_state(model.pack(start))
        evaluate = evaluation(model, engine, template, pairs_of)
        while not state.code.all() and state.n_pass < 1500:
            state = em._pass(state, evaluate)
        paths[name] = np.array(state.path)[:, 0] * rows.n
    whole, gate = costs(model, rows, start)
    out = {}
    for name, (_, every) in designs.items():
        same = [path[-1] for path in paths.values() if abs(path[-1] - paths[name][-1]) < 1e-2]
        near = np.flatnonzero(paths[name] >= max(same) - CLOSE)
        if len(near):
            passes = int(near[0]) + 1
            out[name] = passes, passes * (whole - gate + gate / every), paths[name][-1]
    return out


def main(quick=False):
    for name, model, rows, labels in cases(quick):
        print(name)
        for design, (passes, seconds, loglik) in measure(model, rows, labels).items():
            print(f"    {design:12s} {passes:5d} passes {seconds:9.4f} s {loglik:16.6f}")


if __name__ == "__main__":
    main("--quick" in sys.argv)
