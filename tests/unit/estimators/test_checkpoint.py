"""Checkpoints through the public face: a killed and resumed fit ends where an unbroken one does."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest

from mixexp import EM, MoERegressor
from mixexp._persistence import PersistenceError

ROOT = Path(__file__).resolve().parents[3]

# Fits in another process and kills it: at the given pass, or halfway through writing the
# checkpoint's file (the second argument counts os.replace calls).
SCRIPT = textwrap.dedent(
    """
    import os, signal, sys
    import numpy as np
    from tests.unit.estimators.test_checkpoint import data, model
    from mixexp.em import checkpoint, driver

    path, at_pass, at_write = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])

    def die():
        os.kill(os.getpid(), signal.SIGKILL)

    one_pass, replace, count = driver.EM._pass, os.replace, [0]

    def passes(self, state, *rest):
        if state.n_pass == at_pass and state.anchor.shape[0] == 1:
            die()
        return one_pass(self, state, *rest)

    def replaces(*args, **kwargs):
        count[0] += 1
        if count[0] == at_write:
            die()
        return replace(*args, **kwargs)

    driver.EM._pass = passes
    os.replace = replaces
    model(path).fit(*data())
    """
)


def data():
    rng = np.random.default_rng(0)
    X = rng.standard_normal((120, 2))
    y = np.where(X[:, 0] + rng.standard_normal(120) > 0, X[:, 1], -X[:, 1])
    return X, y + 0.4 * rng.standard_normal(120)


def model(path, **settings):
    """A fit of a few dozen passes, which starts far from its end."""
    start = (np.arange(120) % 5 < 2).astype(int)
    solver = EM(checkpoint=path, checkpoint_every=3, gradient_tol=1e-9, **settings)
    return MoERegressor(2, start=start, solver=solver)


def killed(path, at_pass=-1, at_write=-1):
    """Run the fit in another process until it is killed."""
    command = [sys.executable, "-c", SCRIPT, str(path), str(at_pass), str(at_write)]
    done = subprocess.run(
        command, cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True
    )
    assert done.returncode == -signal.SIGKILL, done.stderr.decode()


def assert_same_fit(first, second):
    for name in ("coef_", "intercept_", "gate_coef_", "dispersion_", "objective_path_"):
        assert np.array_equal(getattr(first, name), getattr(second, name)), name
    assert first.n_iter_ == second.n_iter_


def test_the_fit_is_long_enough_to_be_killed(tmp_path):
    assert model(tmp_path / "c").fit(*data()).n_iter_ > 20


def test_a_checkpoint_does_not_change_the_fit(tmp_path):
    assert_same_fit(model(tmp_path / "c").fit(*data()), model(None).fit(*data()))


def test_a_fit_killed_at_a_pass_resumes_bit_for_bit(tmp_path):
    path = tmp_path / "c"
    killed(path, at_pass=10)
    assert path.exists()
    assert_same_fit(model(path).fit(*data()), model(None).fit(*data()))


def test_a_fit_killed_while_writing_resumes_bit_for_bit(tmp_path):
    path = tmp_path / "c"
    killed(path, at_write=3)
    assert_same_fit(model(path).fit(*data()), model(None).fit(*data()))


@pytest.mark.slow
def test_a_fit_killed_ten_times_in_a_row_resumes_bit_for_bit(tmp_path):
    path = tmp_path / "c"
    passes = np.sort(np.random.default_rng(3).choice(np.arange(3, 20), 9, replace=False))
    for at_pass in passes[:5]:
        killed(path, at_pass=int(at_pass))
    killed(path, at_write=1)
    for at_pass in passes[5:]:
        killed(path, at_pass=int(at_pass))
    assert_same_fit(model(path).fit(*data()), model(None).fit(*data()))


def test_the_resumed_fit_does_not_begin_anew(tmp_path):
    path = tmp_path / "c"
    killed(path, at_pass=10)
    seen = []
    run = EM.run

    def watched(self, *args, state=None, **rest):
        seen.append(None if state is None else state.n_pass)
        return run(self, *args, state=state, **rest)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(EM, "run", watched)
        model(path).fit(*data())
    assert seen == [9]


def test_a_finished_checkpoint_gives_the_fit_again(tmp_path):
    path = tmp_path / "c"
    assert_same_fit(model(path).fit(*data()), model(path).fit(*data()))


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("max_passes", [5, 6])
def test_a_checkpoint_at_the_limit_of_passes_gives_the_fit_again(tmp_path, max_passes):
    path = tmp_path / "c"
    first = model(path, max_passes=max_passes).fit(*data())
    assert_same_fit(first, model(path, max_passes=max_passes).fit(*data()))


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_more_passes_continue_where_the_limit_ended_a_fit(tmp_path):
    path = tmp_path / "c"
    model(path, max_passes=6).fit(*data())
    assert_same_fit(model(path).fit(*data()), model(tmp_path / "d").fit(*data()))


OTHER = {
    "data": lambda path, X, y: model(path).fit(X + 1e-9, y),
    "target": lambda path, X, y: model(path).fit(X, y[::-1]),
    "weights": lambda path, X, y: model(path).fit(X, y, np.arange(120) + 1.0),
    "offset": lambda path, X, y: model(path).fit(X, y, offset=np.ones(120)),
    "number of experts": lambda path, X, y: model(path).set_params(n_experts=3).fit(X, y),
    "gate": lambda path, X, y: model(path).set_params(gate="constant").fit(X, y),
    "columns": lambda path, X, y: model(path).set_params(gate_features=[0]).fit(X, y),
    "tolerance": lambda path, X, y: model(path, tol=1e-5).fit(X, y),
    "start": lambda path, X, y: model(path).set_params(start=np.arange(120) % 2).fit(X, y),
}


@pytest.mark.parametrize("what", OTHER)
def test_the_checkpoint_of_another_fit_is_refused(tmp_path, what):
    path = tmp_path / "c"
    model(path).fit(*data())
    with pytest.raises(ValueError, match="belongs to a fit of other data or settings"):
        OTHER[what](path, *data())


def test_resume_false_begins_anew(tmp_path):
    path = tmp_path / "c"
    model(path).fit(*data())
    X, y = data()
    again = model(path, resume=False).fit(X, y[::-1])
    assert_same_fit(again, model(None).fit(X, y[::-1]))


def test_a_damaged_checkpoint_is_named(tmp_path):
    path = tmp_path / "c"
    model(path).fit(*data())
    path.write_bytes(path.read_bytes()[:-50])
    with pytest.raises(PersistenceError, match=path.name):
        model(path).fit(*data())
