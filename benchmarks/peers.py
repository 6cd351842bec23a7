"""Five-fold cross-validated log-likelihood and error against peers, on real and simulated data.

    python -m benchmarks.peers [--sets boston,iris] [--quick] [--n-jobs 2] [--table] [--check]

Every model sees the same folds and the same columns (categories as dummies, standardised on the
training fold; the target of a regression too, log-densities are given in the target's own
units). mixexp runs one configuration for all sets: a `SelectionStudy` over K and the strengths of
the L2 penalties, chosen by cross-validation inside the training fold (`CONFIGURATION`, printed
with the table). The other mixtures run with K fixed as in their name, at their defaults; the best
K of a peer is thus chosen with hindsight, in its favour. Point predictors (marked +) are given a
Gaussian density with the standard deviation of their training residuals.

Scores are written fold by fold to ``benchmarks/results/peers``; what is there is not run again
(our own only where the configuration is still the same). ``--table`` prints what is there,
``--check`` integrates every model's density over the target. Peers that are not installed are
left out and named.
"""

from __future__ import annotations

import argparse
import json
import time
import warnings
from pathlib import Path

import numpy as np
from sklearn.model_selection import KFold, StratifiedKFold
from sklearn.preprocessing import StandardScaler

from benchmarks import peer_models
from benchmarks.peer_data import CLASSIFICATION, REGRESSION
from benchmarks.peer_models import CLASSIFIERS, CONFIGURATION, REGRESSORS, available

RESULTS = Path(__file__).parent / "results" / "peers"
OURS = "mixexp study"
BASELINES = ("single expert", "logistic")
MIXTURES = ("cgmm", "stepmix", "gmr", "GaussianMixture")


def run_set(name, load, models, classify, n_folds=5):
    """Run the models of one data set on the folds without scores, and write theirs down."""
    X, y = load()
    splitter = (StratifiedKFold if classify else KFold)(n_folds, shuffle=True, random_state=0)
    folds = list(splitter.split(X, y))
    done = read(name)
    for label, model in models.items():
        settings = CONFIGURATION if label == OURS else "defaults"
        entry = done.get(label, {})
        if entry.get("configuration") != settings:
            entry = {"folds": [], "configuration": settings}
        if "failure" in entry or len(entry["folds"]) == n_folds:
            continue
        done[label] = entry
        for train, test in folds[len(entry["folds"]) :]:
            try:
                entry["folds"].append(timed(model, X[train], y[train], X[test], y[test], classify))
            except Exception as failure:  # a peer may fail: it is reported, not hidden
                entry["failure"] = f"{type(failure).__name__}: {str(failure)[:80]}"
                break
            write(name, done)
        write(name, done)
        print(f"  {name:14s} {describe(label, entry)}", flush=True)


def read(name):
    """Entries of one data set by model: scores of the folds, or the failure."""
    path = RESULTS / f"{name}.json"
    return json.loads(path.read_text()) if path.exists() else {}


def write(name, done):
    RESULTS.mkdir(parents=True, exist_ok=True)
    (RESULTS / f"{name}.json").write_text(json.dumps(done, indent=1))


def timed(model, X, y, X_test, y_test, classify):
    """Scores of one fold and its CPU seconds (of this process)."""
    start = time.process_time()
    loglik, error, note = score(model, X, y, X_test, y_test, classify)
    seconds = time.process_time() - start
    return {"loglik": loglik, "error": error, "seconds": seconds, "note": note}


def score(model, X, y, X_test, y_test, classify):
    """Mean test log-likelihood, RMSE (or error rate) and what the model says of itself."""
    scaler = StandardScaler().fit(X)
    X, X_test = scaler.transform(X), scaler.transform(X_test)
    if classify:
        proba, classes, *note = model(X, y, X_test)
        column = np.searchsorted(classes, y_test)
        loglik = np.log(np.clip(proba[np.arange(len(y_test)), column], 1e-15, 1)).mean()
        return float(loglik), float(np.mean(classes[proba.argmax(axis=1)] != y_test)), note
    centre, scale = y.mean(), y.std()
    log_density, mean, *note = model(X, (y - centre) / scale, X_test, (y_test - centre) / scale)
    error = np.sqrt(np.mean((y_test - centre - scale * mean) ** 2))
    return float(np.mean(log_density) - np.log(scale)), float(error), note


def describe(label, entry):
    """One line of a model: means over the folds, or its failure."""
    if "failure" in entry:
        return f"{label:20s} failed: {entry['failure']}"
    if len(entry["folds"]) < 5:
        label = f"{label} ({len(entry['folds'])} folds)"
    loglik, error, seconds = (mean(entry, key) for key in ("loglik", "error", "seconds"))
    notes = " ".join(" ".join(fold["note"]) for fold in entry["folds"])
    return f"{label:20s} log-lik {loglik:9.3f}  error {error:8.3f}  CPU s {seconds:7.2f}  {notes}"


def mean(entry, key):
    return float(np.mean([fold[key] for fold in entry["folds"]]))


def compare(done):
    """Ours less every mixture peer, fold by fold: {peer: (difference, standard error, passed)}.

    By log-likelihood; by the logarithm of the RMSE for a peer that gives no density.
    """
    out = {}
    for label, entry in done.items():
        if not label.startswith(MIXTURES) or "failure" in entry or OURS not in done:
            continue
        sign, key = 1.0, "loglik"
        n = min(len(entry["folds"]), len(done[OURS]["folds"]))
        if n < 2:  # still running
            continue
        theirs, ours = ([f[key] for f in one["folds"][:n]] for one in (entry, done[OURS]))
        if not np.all(np.isfinite(theirs)):
            sign, key = -1.0, "error"
            theirs, ours = (
                np.log([f[key] for f in one["folds"][:n]]) for one in (entry, done[OURS])
            )
        difference = sign * (np.array(ours) - theirs)
        error = difference.std(ddof=1) / np.sqrt(len(difference))
        out[label] = (float(difference.mean()), float(error), bool(difference.mean() >= -error))
    return out


def report(name):
    """Print one data set: all models, then ours against the mixtures."""
    done = read(name)
    for label, entry in sorted(done.items(), key=lambda item: not item[0].startswith(OURS)):
        mark = " (baseline)" if label in BASELINES else ""
        print(f"  {name:14s} {describe(label, entry)}{mark}")
    for label, (difference, error, passed) in compare(done).items():
        word = "ok" if passed else "BEHIND"
        print(f"  {name:14s} ours - {label:20s} {difference:+.3f} (se {error:.3f}) {word}")


def check_scales(load, models):
    """Integral of every model's density over the target for one row of the test fold."""
    X, y = load()
    train, test = next(KFold(5, shuffle=True, random_state=0).split(X))
    scaler = StandardScaler().fit(X[train])
    X, y = scaler.transform(X), (y - y[train].mean()) / y[train].std()
    grid = np.linspace(-12, 12, 2401)
    row = np.repeat(X[test[:1]], len(grid), axis=0)
    for label, model in models.items():
        density = np.exp(model(X[train], y[train], row, grid)[0])
        print(f"  integral of {label:20s} {density.sum() * (grid[1] - grid[0]):.4f}", flush=True)


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sets", help="comma-separated names; default all")
    parser.add_argument("--models", help="comma-separated beginnings of names; default all")
    parser.add_argument("--quick", action="store_true", help="small sets only")
    parser.add_argument("--table", action="store_true", help="print what has been run")
    parser.add_argument("--check", action="store_true", help="integrate the densities (Boston)")
    parser.add_argument("--n-jobs", type=int, help="processes of our study (its CPU is not seen)")
    options = parser.parse_args(arguments)
    peer_models.N_JOBS = options.n_jobs
    chosen = options.sets.split(",") if options.sets else None
    wanted = tuple(options.models.split(",")) if options.models else ("",)
    print("mixexp configuration:", CONFIGURATION)
    missing = available()
    if missing:
        print("not installed, left out:", ", ".join(missing))
    if options.check:
        models = {k: model for k, model in REGRESSORS.items() if k.startswith(wanted)}
        check_scales(REGRESSION["boston"][0], models)
        return
    for table, models, classify in ((REGRESSION, REGRESSORS, 0), (CLASSIFICATION, CLASSIFIERS, 1)):
        models = {label: model for label, model in models.items() if label.startswith(wanted)}
        for name, (load, small) in table.items():
            if (chosen and name not in chosen) or (options.quick and not small):
                continue
            if not options.table:
                run_set(name, load, models, bool(classify))
            report(name)


if __name__ == "__main__":
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        main()
