"""Regularisation paths, weighted Lasso M-steps, and whole Lasso fits against R.

Paths of 50 strengths at (n, p, K) = (1,000, 500, 3) and (200, 10,000, 3) with a planted support.
An M-step is K Lasso regressions of all rows, weighted by responsibilities: ours from the rows
(scores of all columns, Gram matrices of a working set, coordinate descent, from zero) against
scikit-learn's `Lasso` on the same weighted problems, in the faster of its two ways, and skglm's
where it is installed, to the same objective. Whole fits: the R code of Huynh and Chamroukhi (its
sources in the folder that HDME_R names) and flexmix with its glmnet driver.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from sklearn.linear_model import Lasso

from mixexp import EM, L1, GaussianExpert, MoERegressor, SoftmaxGate
from mixexp.kernels.designs import weighted_grams, weighted_sums
from mixexp.solvers import penalised_step

from .timing import Line, interleaved
from .whole_fits import HERE, answer_of

PATHS = [(1000, 500, 3), (200, 10_000, 3)]
SLOPES = {2: (2.0, 0, -2.0), 3: (-2.0, 2.0, 0), 4: (0, 2.0, 0), 5: (0, 0, 2.0)}


def planted(n, p, seed=0):
    """Three experts with two slopes each out of p, divided by two other columns."""
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n, p))
    logits = 4 * np.stack([X[:, 0], X[:, 1] - X[:, 0], -X[:, 1]], axis=1)
    share = np.exp(logits - logits.max(axis=1, keepdims=True))
    share /= share.sum(axis=1, keepdims=True)
    label = (rng.random((n, 1)) > share.cumsum(axis=1)).sum(axis=1).clip(max=2)
    mean = np.array([3.0, 0, -3.0])[label]
    for column, slopes in SLOPES.items():
        mean = mean + np.array(slopes)[label] * X[:, column]
    return X, mean + 0.5 * rng.standard_normal(n), label


def _path(n, p, K, points):
    """CPU and wall seconds, peak memory in GB, and what the path holds, in a process of its own."""
    code = (
        "import time, resource; from benchmarks.paths import planted, SLOPES;"
        "from mixexp import MoEPath, MoERegressor;"
        f"X, y, _ = planted({n}, {p});"
        "MoEPath(MoERegressor(2), penalties_expert=2).fit(X[:100, :40], y[:100]);"
        "w, c = time.perf_counter(), time.process_time();"
        f"r = MoEPath(MoERegressor({K}), penalties_expert={points}, ratio=0.1,"
        " random_state=0).fit(X, y).result_;"
        "c, w = time.process_time() - c, time.perf_counter() - w;"
        "found = [bool(s[:, list(SLOPES)].any(axis=0).all() and g[:, :2].any(axis=0).all())"
        " for s, g in zip(r.support, r.gate_support)];"
        "print(c, w, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6, len(r.table),"
        " sum(found), r.table['certificate'].max())"
    )
    out = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True
    )
    return tuple(map(float, out.stdout.split())) if out.returncode == 0 else None


def _m_step(n, p, repeats):
    """Lines of our weighted Lasso regressions against scikit-learn's and skglm's."""
    X, y, label = planted(n, p)
    X, y = (X - X.mean(axis=0)) / X.std(axis=0), (y - y.mean()) / y.std()
    weights = 0.9 * np.eye(3)[label] + 0.1 / 3
    design = np.column_stack([np.ones(n), X])
    strength = 0.1 * np.abs(weighted_sums(X, weights * y[:, None])).max() / n
    found = {}

    def ours():
        # as a fit does: on a working set, then tested on all columns
        coef = np.zeros((3, p + 1))
        working = np.zeros(p + 1, dtype=bool)
        working[0] = True
        for _ in range(50):
            residual = weights * (y[:, None] - design[:, working] @ coef[:, working].T)
            score = weighted_sums(design, residual) / n
            excess = np.where(working, 0, np.abs(score).max(axis=0) - strength)
            if excess.max() <= 1e-9 and working.sum() > 1:
                break
            order = np.argsort(-excess)[: max(10, working.sum())]
            working[order[excess[order] > 0]] = True
            gram = weighted_grams(design[:, working], weights) / n
            coef[:, working] = penalised_step(
                gram, score[:, working], coef[:, working], L1(strength)
            )
        found["ours"] = coef

    def theirs(precompute):
        coef = np.zeros((3, p + 1))
        for k, weight in enumerate(weights.T):
            # scikit-learn divides by the weights' sum
            alpha = strength * n / weight.sum()
            lasso = Lasso(alpha, precompute=precompute, tol=1e-10, max_iter=100_000)
            lasso.fit(X, y, sample_weight=weight)
            coef[k] = np.append(lasso.intercept_, lasso.coef_)
        found["theirs"] = coef

    def skglm():
        coef = np.zeros((3, p + 1))
        for k, weight in enumerate(weights.T):
            # it takes no weights: rows times their root, after the weighted means
            root, share = np.sqrt(weight), weight / weight.sum()
            centre, level = share @ X, share @ y
            lasso = skglm_lasso(strength, tol=1e-10, fit_intercept=False)
            lasso.fit(root[:, None] * (X - centre), root * (y - level))
            coef[k] = np.append(level - centre @ lasso.coef_, lasso.coef_)
        found["skglm"] = coef

    functions = {"ours": ours, "rows": lambda: theirs(False)}
    if p <= n:
        functions["Gram matrices"] = lambda: theirs(True)
    skglm_lasso = getattr(_module("skglm"), "Lasso", None)
    if skglm_lasso is not None:
        functions["skglm"] = skglm
    for function in functions.values():
        function()  # compiles
    seconds = interleaved(functions, repeats)
    height = {
        name: sum(
            weights[:, k] @ (y - design @ b) ** 2 / (2 * n) + strength * np.abs(b[1:]).sum()
            for k, b in enumerate(coef)
        )
        for name, coef in found.items()
    }
    case = f"({n:,}, {p:,}, 3)"
    quicker = min(seconds.keys() & {"rows", "Gram matrices"}, key=seconds.get)
    note = (
        f"ours {1e3 * seconds['ours']:.1f} ms, scikit-learn {1e3 * seconds[quicker]:.1f} ms by "
        f"{quicker}; objective ours - theirs {height['ours'] - height['theirs']:.1e}"
    )
    ratio = seconds["ours"] / seconds[quicker]
    yield Line("paths", "M-step / scikit-learn's Lasso (CPU)", case, ratio, "<= 1.5", note)
    if "skglm" in seconds:
        note = (
            f"skglm {1e3 * seconds['skglm']:.1f} ms; objective ours - theirs "
            f"{height['ours'] - height['skglm']:.1e}"
        )
        ratio = seconds["ours"] / seconds["skglm"]
        yield Line("paths", "M-step / skglm's Lasso (CPU)", case, ratio, "<= 1.5", note)


def _module(name):
    """A package that need not be installed, or None."""
    return importlib.import_module(name) if importlib.util.find_spec(name) else None


def _against_r(n, p, K, repeats):
    """Lines of whole Lasso fits and passes against R programs that are installed."""
    X, y, label = planted(n, p)
    label = np.minimum(label, K - 1)
    X, y = (X - X.mean(axis=0)) / X.std(axis=0), (y - y.mean()) / y.std()
    case, strength = f"({n:,}, {p}, {K})", 10.0
    with tempfile.TemporaryDirectory() as folder:
        for name, values in (("y", y), ("X", X.T), ("labels", label)):
            np.ascontiguousarray(values, dtype=float).tofile(Path(folder) / f"{name}.bin")
        parts = {
            "gate": SoftmaxGate(penalty=L1(strength / n)),
            "expert": GaussianExpert(penalty=L1(strength / n), tied_scale=True),
        }
        start = np.random.default_rng(1).dirichlet(np.ones(K), n)
        tolerance = EM(tol=1e-7, gradient_tol=1e-3)

        def ours():
            return MoERegressor(K, start=start, solver=tolerance, **parts).fit(X, y)

        model = ours()
        seconds = interleaved({"ours": ours}, repeats)["ours"]
        sources = os.environ.get("HDME_R")
        if sources and shutil.which("Rscript"):
            command = ["Rscript", HERE / "peers_r" / "hdme.R", sources, folder, n, p, K]
            answer = answer_of([*command, strength, strength], timeout=1500)
            if answer is not None:
                note = (
                    f"HDME {answer[0]:.2f} s, {answer[1]:.0f} passes to {answer[2]:.2f}; ours "
                    f"{seconds:.3f} s to {model.objective_path_[-1] * n:.2f}"
                )
                yield Line(
                    "paths",
                    "HDME / whole Lasso fit (CPU)",
                    case,
                    answer[0] / seconds,
                    ">= 50",
                    note,
                )
        if shutil.which("Rscript"):
            command = ["Rscript", HERE / "peers_r" / "flexmix_glmnet.R"]
            answer = answer_of([*command, folder, n, p, K, 100], timeout=1500)
            if answer is not None:
                note = (
                    f"flexmix with glmnet (strengths by its cross-validation) {answer[0]:.2f} s, "
                    f"{answer[1]:.0f} passes; ours {seconds:.3f} s, {model.n_iter_} passes"
                )
                ratio = answer[0] / seconds
                yield Line("paths", "flexmix glmnet / Lasso fit (CPU)", case, ratio, ">= 50", note)


def paths(quick=False):
    """The lines of this section."""
    for n, p, K in PATHS:
        points = 10 if quick else 50
        found = _path(n, p, K, points)
        if found is None:
            continue
        seconds, wall, memory, kept, inside, certificate = found
        note = (
            f"wall {wall:.1f} s, peak {memory:.2f} GB, {kept:.0f} of {points} strengths before "
            f"saturation, planted support inside {inside:.0f}, certificate {certificate:.1e}"
        )
        bar = "<= 300" if p == 10_000 else ""
        yield Line(
            "paths",
            f"a path of {points} strengths, CPU s",
            f"({n:,}, {p:,}, {K})",
            seconds,
            bar,
            note,
        )
    repeats = 3 if quick else 9
    for n, p in ((1000, 500), (200, 10_000)):
        yield from _m_step(n, p, repeats)
    yield from _against_r(300, 6, 2, repeats)
    if not quick:
        yield from _against_r(1000, 100, 3, 3)
