"""Core smoke tests: a plain script, run with the installed wheel from outside the checkout.

    python smoke.py [folder of a study's report]

Needs neither pytest nor any extra. Every check prints what it looked at.
"""

from __future__ import annotations

import importlib.resources
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

import mixexp
from mixexp import MoEClassifier, MoERegressor
from mixexp.datasets import load_ethanol

COMMAND = Path(sys.executable).parent / "mixexp"


def check_package() -> str:
    """The wheel is complete, and it is the wheel that runs."""
    files = importlib.resources.files("mixexp")
    assert files.joinpath("py.typed").is_file()
    data = [item.name for item in files.joinpath("datasets", "data").iterdir()]
    assert "ethanol.csv" in data, data
    place = Path(mixexp.__file__).resolve()
    assert not (place.parents[1] / "pyproject.toml").exists(), f"a checkout is imported: {place}"
    for name in mixexp.__all__:
        getattr(mixexp, name)
    return (
        f"mixexp {mixexp.__version__}: {len(mixexp.__all__)} public names, {len(data)} data files"
    )


def check_regression() -> str:
    """A regressor fits real data, predicts, and survives a round trip through a file."""
    X, y = load_ethanol(return_X_y=True)
    model = MoERegressor(n_experts=2, random_state=0).fit(X, y)
    mean = model.predict(X)
    assert mean.shape == y.shape and np.isfinite(mean).all()
    responsibilities = model.responsibilities(X, y)
    np.testing.assert_allclose(responsibilities.sum(axis=1), 1.0, rtol=1e-12)
    log_prob = model.log_prob(X, y)
    low, high = model.predict_interval(X, 0.9).T
    assert (low < high).all()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.mixexp"
        model.save(path)
        loaded = mixexp.load(path)
    np.testing.assert_array_equal(loaded.log_prob(X, y), log_prob)
    return f"regression on ethanol: R2 {model.score(X, y):.3f}, log p {log_prob.sum():.2f}, file"


def check_weights() -> str:
    """A weight of two is the row twice."""
    X, y = load_ethanol(return_X_y=True)
    weight = np.where(np.arange(len(y)) % 3 == 0, 2, 1)
    weighted = MoERegressor(n_experts=2, random_state=0).fit(X, y, sample_weight=weight)
    repeated = MoERegressor(n_experts=2, random_state=0)
    repeated.fit(np.repeat(X, weight, axis=0), np.repeat(y, weight))
    np.testing.assert_allclose(weighted.predict(X), repeated.predict(X), rtol=1e-5, atol=1e-7)
    return "weight 2 equals the row twice"


def check_classification() -> str:
    """A classifier with classes named by strings."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(400, 2))
    y = np.where((X[:, 1] > 0) == (X[:, 0] > 0), "same", "other")
    model = MoEClassifier(n_experts=2, random_state=0).fit(X, y)
    probability = model.predict_proba(X)
    np.testing.assert_allclose(probability.sum(axis=1), 1.0, rtol=1e-12)
    assert set(model.predict(X)) <= {"same", "other"}
    return f"classification: accuracy {model.score(X, y):.3f}"


def check_counts() -> str:
    """Counts: Poisson experts."""
    rng = np.random.default_rng(1)
    X = rng.uniform(-1, 1, size=(400, 1))
    y = rng.poisson(np.exp(np.where(X[:, 0] > 0, 2 * X[:, 0], 1 - X[:, 0])))
    model = MoERegressor(n_experts=2, expert="poisson", random_state=0).fit(X, y)
    assert (model.predict(X) > 0).all()
    return f"counts: log p {model.log_prob(X, y).sum():.2f}"


def check_report(folder: Path) -> str:
    """What the command line wrote can be read, and the saved model predicts."""
    study = json.loads((folder / "study.json").read_text(encoding="utf-8"))
    assert study
    pages = list(folder.glob("*.html"))
    assert pages and all(page.stat().st_size > 1000 for page in pages)
    data = importlib.resources.files("mixexp.datasets").joinpath("data", "ethanol.csv")
    out = folder / "smoke-pred.csv"
    command = [COMMAND, "predict", folder / "model.mixexp", data, "--out", out]
    subprocess.run([str(word) for word in command], check=True)
    rows = len(out.read_text(encoding="utf-8").splitlines()) - 1
    assert rows == 88, rows
    return (
        f"report: {', '.join(page.name for page in pages)}, {rows} rows predicted by the model file"
    )


def check_errors() -> str:
    """A wrong call of the command line is one clear line and exit code 2."""
    command = [str(COMMAND), "study", "no-such-file.csv", "--target", "y"]
    run = subprocess.run(command, capture_output=True, text=True)
    assert run.returncode == 2, (run.returncode, run.stderr)
    assert len(run.stderr.strip().splitlines()) == 1, run.stderr
    return f"command line: {run.stderr.strip()}"


def main(arguments: list[str]) -> None:
    """Run every check; the first one that fails ends the script with its traceback."""
    checks = [check_package, check_regression, check_weights, check_classification, check_counts]
    for check in [*checks, check_errors]:
        print("ok:", check(), flush=True)
    for folder in arguments:
        print("ok:", check_report(Path(folder)), flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
