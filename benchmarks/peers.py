"""Five-fold cross-validated log-likelihood and error against peers, on real and simulated data.

    python -m benchmarks.peers [--sets boston,iris] [--quick]

Every model sees the same folds and the same columns (categories as dummies, standardised on the
training fold; the target of a regression too, log-densities are given in the target's own
units). mixexp runs one configuration for all sets: a `SelectionStudy` over K and the strength of
the L2 penalty, chosen by cross-validation inside the training fold (`CONFIGURATION`, printed with
the table). The other mixtures run with K fixed as in their name, at their defaults; the best K of
a peer is thus chosen with hindsight, in its favour. Point predictors (marked +) are given a
Gaussian density with the standard deviation of their training residuals.

Peers that are not installed are left out and named.
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

from benchmarks.peer_data import CLASSIFICATION, REGRESSION
from benchmarks.peer_models import CLASSIFIERS, CONFIGURATION, REGRESSORS, available

RESULTS = Path(__file__).parent / "results"


def run_set(name, load, models, classify, n_folds=5):
    """Scores per fold of every model on one data set: {model: (folds, 3)} of loglik, error, CPU."""
    X, y = load()
    splitter = (StratifiedKFold if classify else KFold)(n_folds, shuffle=True, random_state=0)
    scores = {}
    for label, model in models.items():
        rows = []
        for train, test in splitter.split(X, y):
            start = time.process_time()
            try:
                loglik, error = score(model, X[train], y[train], X[test], y[test], classify)
            except Exception as failure:  # a peer may fail: it is reported, not hidden
                print(f"  {name} {label}: {type(failure).__name__}: {str(failure)[:80]}")
                break
            rows.append((loglik, error, time.process_time() - start))
        else:
            scores[label] = np.array(rows)
            mean = scores[label].mean(axis=0)
            print(
                f"  {name:14s} {label:16s} log-lik {mean[0]:8.3f}  error {mean[1]:7.3f}"
                f"  CPU s {mean[2]:7.2f}",
                flush=True,
            )
    return scores


def score(model, X, y, X_test, y_test, classify):
    """Mean test log-likelihood and RMSE (or log-loss and error rate) of one fold."""
    scaler = StandardScaler().fit(X)
    X, X_test = scaler.transform(X), scaler.transform(X_test)
    if classify:
        proba, classes = model(X, y, X_test)
        column = np.searchsorted(classes, y_test)
        loglik = np.log(np.clip(proba[np.arange(len(y_test)), column], 1e-15, 1)).mean()
        return loglik, np.mean(classes[proba.argmax(axis=1)] != y_test)
    centre, scale = y.mean(), y.std()
    log_density, mean = model(X, (y - centre) / scale, X_test, (y_test - centre) / scale)
    error = np.sqrt(np.mean((y_test - centre - scale * mean) ** 2))
    return np.mean(log_density) - np.log(scale), error


def verdict(scores, ours="mixexp study"):
    """Paired comparison of the log-likelihood with every mixture peer: mean, standard error."""
    if ours not in scores:
        return {}
    out = {}
    for label, values in scores.items():
        if label == ours or not label.startswith(("cgmm", "stepmix", "gmr", "GaussianMixture")):
            continue
        difference = scores[ours][:, 0] - values[:, 0]
        error = difference.std(ddof=1) / np.sqrt(len(difference))
        out[label] = (float(difference.mean()), float(error), bool(difference.mean() >= -error))
    return out


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sets", help="comma-separated names; default all")
    parser.add_argument("--quick", action="store_true", help="small sets only")
    options = parser.parse_args(arguments)
    chosen = options.sets.split(",") if options.sets else None
    print("mixexp configuration:", CONFIGURATION)
    missing = available()
    if missing:
        print("not installed, left out:", ", ".join(missing))
    report = {"configuration": CONFIGURATION, "sets": {}}
    for table, models, classify in ((REGRESSION, REGRESSORS, 0), (CLASSIFICATION, CLASSIFIERS, 1)):
        for name, (load, small) in table.items():
            if (chosen and name not in chosen) or (options.quick and not small):
                continue
            scores = run_set(name, load, models, bool(classify))
            compared = verdict(scores)
            for label, (difference, error, passed) in compared.items():
                word = "ok" if passed else "BEHIND"
                print(f"  {name:14s} ours - {label:16s} {difference:+.3f} (se {error:.3f}) {word}")
            report["sets"][name] = {
                "scores": {label: values.tolist() for label, values in scores.items()},
                "against_mixtures": compared,
            }
            RESULTS.mkdir(exist_ok=True)
            (RESULTS / "peers.json").write_text(json.dumps(report, indent=1))


if __name__ == "__main__":
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        main()
