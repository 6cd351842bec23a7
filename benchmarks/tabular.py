"""(k) Neural mixtures on tables against an MLP of the same width, boosting and EM fits.

One setting for all tables, no search: E = 8 experts of two hidden layers of width 16 against one
network of width 128 = 8 x 16, all with piecewise linear embeddings, the same training and the same
seeds. The claim of Chernov (2025) is that the Gumbel gate is at least as good as the MLP with far
fewer parameters. Every fit is a line of ``benchmarks/results/tabular-*.csv``.
"""

from __future__ import annotations

import csv
import time
import warnings
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
from scipy.stats import rankdata, ttest_rel, wilcoxon
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
from sklearn.metrics import log_loss
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from .tabular_data import CLASSES, REGRESSION, split
from .timing import Line

E, WIDTH, LAYERS = 8, 16, 2
MOST_COLUMNS_OF_EM = 12  # beyond, EM fits of unpenalised experts take minutes
RESULTS = Path(__file__).resolve().parent / "results"
QUICK = ("friedman1", "ethanol", "iris", "moe_classes")


class Result(NamedTuple):
    """One fit: relative root mean squared error, or error rate; log loss of classes; its size."""

    table: str
    model: str
    seed: int
    error: float
    log_loss: float | None
    n_parameters: int | None
    seconds: float


def _neural(kind: str, classifies: bool, n: int, seed: int):
    from mixexp.neural import (
        GumbelRouter,
        NeuralMoEClassifier,
        NeuralMoERegressor,
        PiecewiseLinearEmbedding,
        TopKRouter,
        Training,
    )

    training = Training(80, batch_size=64 if n < 1000 else 256, learning_rate=5e-3, patience=12)
    size = {"n_experts": E, "d_expert": WIDTH}
    routers = {"GG MoE": GumbelRouter, "softmax MoE": partial(TopKRouter, k=E)}
    if kind == "MLP":
        size = {"n_experts": 1, "d_expert": E * WIDTH}
        routers["MLP"] = partial(TopKRouter, k=1)
    make = NeuralMoEClassifier if classifies else NeuralMoERegressor
    embedding = PiecewiseLinearEmbedding(n_bins=16, d_embedding=8)
    return make(
        **size, n_layers=LAYERS, router=routers[kind], numeric_embedding=embedding,
        training=training, random_state=seed,
    )  # fmt: skip


def _em(classifies: bool):
    from mixexp import MoEClassifier, MoERegressor, MultiStart

    make = MoEClassifier if classifies else MoERegressor
    few = MultiStart(n_starts=0.1, max_rounds=1)  # the full search takes minutes on ten columns
    return make_pipeline(StandardScaler(), make(2, start=few))


def _models(classifies: bool, n: int, p: int, seed: int) -> dict:
    boosting = HistGradientBoostingClassifier if classifies else HistGradientBoostingRegressor
    models = {kind: _neural(kind, classifies, n, seed) for kind in ("GG MoE", "softmax MoE", "MLP")}
    models["boosting"] = boosting(random_state=seed)
    if p <= MOST_COLUMNS_OF_EM:
        models["EM, 2 experts"] = _em(classifies)
    return models


def _one(table: str, n: int, seed: int):
    """Results of all models on one split."""
    from mixexp.neural.estimators._module import n_parameters

    X, X_test, y, y_test = split(table, n, seed)
    classifies = table in CLASSES
    for name, model in _models(classifies, len(y), X.shape[1], seed).items():
        began = time.perf_counter()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            model.fit(X, y)
            found = model.predict(X_test)
        seconds = time.perf_counter() - began
        loss = None
        if classifies:
            error = float(np.mean(found != y_test))
            loss = float(log_loss(y_test, model.predict_proba(X_test), labels=np.unique(y)))
        else:
            error = float(np.sqrt(np.mean((found - y_test) ** 2)) / np.std(y_test))
        module = getattr(model, "module_", None)
        size = None if module is None else n_parameters(module)
        yield Result(table, name, seed, error, loss, size, seconds)


def tabular(quick=False, full=False):
    """Mean errors by table and model, and paired tests over seeds and tables."""
    tables = QUICK if quick else [*REGRESSION, *CLASSES]
    n, n_seeds = (2000, 10) if full else (400, 2) if quick else (500, 3)
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"tabular-{time.strftime('%Y%m%d-%H%M%S')}.csv"
    results = []
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(Result._fields)
        for table in tables:
            for seed in range(n_seeds):
                for result in _one(table, n, seed):
                    writer.writerow(result)
                    file.flush()
                    results.append(result)
            yield from _lines_of(table, results)
    yield from _tests(tables, results)


def _errors(results, table: str, model: str, what="error") -> np.ndarray:
    return np.array([getattr(r, what) for r in results if (r.table, r.model) == (table, model)])


def _lines_of(table: str, results):
    """Mean error of each model on one table, with the p-value of GG MoE's paired differences."""
    own = _errors(results, table, "GG MoE")
    for model in dict.fromkeys(r.model for r in results if r.table == table):
        errors = _errors(results, table, model)
        sizes = _errors(results, table, model, "n_parameters")
        note = f"sd {errors.std(ddof=1):.3f}"
        if model != "GG MoE" and np.any(errors != own):
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # differences that are all alike
                note += f", paired t-test p {ttest_rel(own, errors).pvalue:.2f}"
        if sizes[0] is not None:
            note += f", {sizes[0]:,} parameters"
        seconds = _errors(results, table, model, "seconds").mean()
        yield Line("tabular", model, table, float(errors.mean()), "", f"{note}, {seconds:.1f} s")


def _tests(tables, results):
    """GG MoE against the others over all tables: mean ranks, wins and Wilcoxon's test."""
    models = ["GG MoE", "softmax MoE", "MLP", "boosting"]
    means = np.array([[_errors(results, t, m).mean() for m in models] for t in tables])
    ranks = rankdata(means, axis=1)
    for model, rank in zip(models, ranks.mean(axis=0)):
        yield Line("tabular", f"mean rank of {model}", f"{len(tables)} tables", float(rank))
    for model, column in zip(models[1:], means.T[1:]):
        difference = means[:, 0] - column
        p = wilcoxon(difference).pvalue if np.any(difference != 0) else 1.0
        wins = f"{np.sum(difference < 0)} of {len(tables)} tables lower"
        yield Line("tabular", f"GG MoE and {model}, Wilcoxon p", wins, float(p))
    shares = [
        _errors(results, t, "GG MoE", "n_parameters")[0]
        / _errors(results, t, "MLP", "n_parameters")[0]
        for t in tables
    ]
    yield Line(
        "tabular", "parameters of GG MoE / those of the MLP, median", f"{len(tables)} tables",
        float(np.median(shares)), "<= 0.7",
    )  # fmt: skip
