"""A study that is killed continues from its folder, to the same result."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from mixexp import MoERegressor, MultiStart, SelectionStudy
from mixexp._persistence import PersistenceError
from mixexp.selection.study import chains

ROOT = Path(__file__).parents[3]
START = MultiStart(n_starts=0.1, max_rounds=1)


def data(n=60):
    rng = np.random.default_rng(0)
    X = rng.uniform(-1, 1, (n, 1))
    return X, np.where(X[:, 0] > 0, 2 * X[:, 0], -X[:, 0]) + 0.1 * rng.standard_normal(n)


def study(folder, **settings):
    template = MoERegressor(start=START, random_state=0)
    grid = {"n_experts": [1, 2], "expert__penalty": [0.0, 0.1]}
    return SelectionStudy(template, grid, cv=2, checkpoint=folder, **settings)


def count_chains(monkeypatch):
    """How many chains are fitted from here on."""
    from mixexp.selection.study import study as module

    made = []

    def counted(*arguments):
        made.append(arguments[1])
        return chains.run_chain(*arguments)

    monkeypatch.setattr(module, "run_chain", counted)
    return made


def same(first, second):
    columns = ["label", "n_experts", "loglik", "cv_loglik", "bic", "status", "chosen"]
    one, two = first.result_.table[columns], second.result_.table[columns]
    return one.equals(two)


def test_a_finished_study_fits_nothing_again(tmp_path, monkeypatch):
    X, y = data()
    first = study(tmp_path / "kept").fit(X, y)
    made = count_chains(monkeypatch)
    second = study(tmp_path / "kept").fit(X, y)
    assert made == []
    assert same(first, second)
    assert np.array_equal(first.predict(X), second.predict(X))


def test_what_is_missing_alone_is_fitted(tmp_path, monkeypatch):
    X, y = data()
    folder = tmp_path / "kept"
    first = study(folder).fit(X, y)
    files = sorted(folder.iterdir())
    assert len(files) == 2 * 3  # two cells, all rows and two folds
    files[0].unlink()
    made = count_chains(monkeypatch)
    assert same(first, study(folder).fit(X, y))
    assert len(made) == 1


@pytest.mark.parametrize("change", ["data", "settings", "folds"])
def test_other_data_or_settings_find_nothing(tmp_path, monkeypatch, change):
    X, y = data()
    study(tmp_path).fit(X, y)
    made = count_chains(monkeypatch)
    other = study(tmp_path, random_state=1 if change == "folds" else None)
    if change == "settings":
        other.set_params(estimator=MoERegressor(start=START, random_state=7))
    other.fit(X + (1e-9 if change == "data" else 0), y)
    assert len(made) == (4 if change == "folds" else 6)  # fits on all rows know no folds


def test_a_damaged_file_is_named(tmp_path):
    X, y = data()
    study(tmp_path).fit(X, y)
    broken = next(tmp_path.iterdir())
    broken.write_bytes(broken.read_bytes()[:100])
    with pytest.raises(PersistenceError, match=broken.name):
        study(tmp_path).fit(X, y)


def test_a_file_in_the_folders_place(tmp_path):
    path = tmp_path / "file"
    path.write_text("")
    with pytest.raises(ValueError, match="name a folder"):
        study(path).fit(*data())


SCRIPT = """
import sys
from tests.unit.selection.test_checkpoint import data, study
study(sys.argv[1]).fit(*data())
"""


@pytest.mark.slow
def test_a_killed_study_continues(tmp_path, monkeypatch):
    X, y = data()
    whole = study(None).fit(X, y)
    folder = tmp_path / "kept"
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    process = subprocess.Popen([sys.executable, "-c", SCRIPT, str(folder)], env=environment)
    while process.poll() is None and (not folder.exists() or len(list(folder.iterdir())) < 2):
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    made = count_chains(monkeypatch)
    continued = study(folder).fit(X, y)
    assert len(made) < 6
    assert same(whole, continued)
