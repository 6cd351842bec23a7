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

from mixexp import EM, L2, BlockDataset, CallableGate, GaussianExpert, MoERegressor, MultiStart
from mixexp._persistence import PersistenceError, save_tree
from mixexp.em.checkpoint import KIND

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
        if hasattr(first, name):  # a known gate has no coefficients
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


DIFFERENT = {  # the only things that the error names
    "data": r"the rows \(other values\)",
    "target": r"the rows \(other values\)",
    "weights": r"the rows \(other values\)",
    "offset": r"the rows \(other values\)",
    "number of experts": r"n_experts \(2 there and 3 here\).*",
    "gate": r"gate \(SoftmaxGate there and ConstantGate here\).*",
    "columns": r"gate_columns \(\[0, 1\] there and \[0\] here\).*",
    "tolerance": r"solver.tol \(1e-12 there and 1e-05 here\)",
    "start": r"parameters of start 0 \(other values\)",
}


@pytest.mark.parametrize("what", OTHER)
def test_the_checkpoint_of_another_fit_is_refused(tmp_path, what):
    path = tmp_path / "c"
    model(path).fit(*data())
    said = f"belongs to a fit of other data or settings; these differ: {DIFFERENT[what]}. Delete it"
    with pytest.raises(ValueError, match=said):
        OTHER[what](path, *data())


def test_settings_of_parts_are_named_with_both_values(tmp_path):
    path, (X, y) = tmp_path / "c", data()
    start = (np.arange(120) % 5 < 2).astype(int)
    ridge = {s: GaussianExpert(penalty=L2(s)) for s in (0.1, 0.2)}
    first = MoERegressor(2, expert=ridge[0.1], start=start, solver=EM(checkpoint=path))
    first.fit(X, y)
    said = r"these differ: expert.penalty.alpha \(0.1 there and 0.2 here\); solver.acceleration"
    other = EM(checkpoint=path, acceleration=4)
    with pytest.raises(ValueError, match=said):
        first.set_params(expert=ridge[0.2], solver=other).fit(X, y)


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


def ridge(path, place):
    """A fit whose settings print alike, whichever column in the middle has the large weight."""
    rng = np.random.default_rng(1)
    X = rng.normal(size=(400, 120))
    y = np.where(np.arange(400) % 3 == 0, X[:, 60], -X[:, 60]) + 0.3 * rng.normal(size=400)
    weights = rng.uniform(1, 2, 120)
    weights[place] = 30.0
    expert = GaussianExpert(penalty=L2(0.1, weights=weights))
    start = MultiStart(n_starts=0.1, max_rounds=1)
    solver = EM(checkpoint=path, checkpoint_every=2, max_passes=5)
    return MoERegressor(2, gate="constant", expert=expert, start=start, solver=solver).fit(X, y)


def test_a_checkpoint_of_an_earlier_form_is_named(tmp_path):
    path = tmp_path / "fit.ckpt"
    tree = {"mark": "0" * 64, "state": {}, "extra": {}}
    save_tree(path, tree, kind=KIND, version="0.0.1")
    with pytest.raises(PersistenceError, match=r"0\.0\.1, has an earlier form.*resume=False"):
        model(path).fit(*data())
    model(path, resume=False).fit(*data())


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_settings_that_print_alike_are_told_apart(tmp_path):
    first = ridge(tmp_path / "c", 60)
    assert_same_fit(ridge(tmp_path / "c", 60), first)
    with pytest.raises(ValueError, match="belongs to a fit of other data or settings"):
        ridge(tmp_path / "c", 61)


SLOPE = 1.0


def halves(X):
    """Known probabilities of two experts."""
    prob = 1 / (1 + np.exp(-SLOPE * X[:, 0]))
    return np.column_stack([prob, 1 - prob])


def known(path):
    return model(path).set_params(gate=CallableGate(halves))


def test_a_known_gate_resumes_in_another_process(tmp_path, monkeypatch):
    path = tmp_path / "c"
    code = (
        "import sys; from tests.unit.estimators.test_checkpoint import data, known\n"
        "known(sys.argv[1]).fit(*data())"
    )
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    subprocess.run([sys.executable, "-c", code, str(path)], cwd=ROOT, env=env, check=True)
    assert_same_fit(known(path).fit(*data()), known(None).fit(*data()))
    monkeypatch.setitem(globals(), "SLOPE", 2.0)
    with pytest.raises(ValueError, match="belongs to a fit of other data or settings"):
        known(path).fit(*data())


SIGNS = np.tile([-1.0, 1.0, 1.0, -1.0], 1024)
OTHER_SIGNS = np.tile([-1.0, 1.0, 1.0, -1.0, 1.0, -1.0, -1.0, 1.0], 512)


def counts(**others):
    """Distinct rows, too many for a table in memory, whose moments are free of rounding.

    Eight neighbours have the same count, so that those of `OTHER_ROWS` are the same.
    """
    i = np.arange(4096)
    X = np.column_stack([i // 8 % 32, i // 256, i % 2, i // 2 % 4]).astype(float)
    y = np.repeat(np.random.default_rng(5).binomial(20, 0.4, 512), 8).astype(float)
    weight = np.ones(4096)
    return {"X": X, "y": y, "weight": weight, "offset": SIGNS, "trials": 21 + SIGNS, **others}


def blocks(**parts):
    halves = (slice(2048), slice(2048, None))
    return BlockDataset([{name: a[half] for name, a in parts.items()} for half in halves])


def binomial(path, rows):
    start = MultiStart(n_starts=0.1, max_rounds=1)
    solver = EM(checkpoint=path, checkpoint_every=2, max_passes=4)
    found = MoERegressor(2, expert="binomial", start=start, solver=solver)
    return found.fit(rows)


OTHER_ROWS = {
    "trials": lambda rows: {**rows, "trials": 42 - rows["trials"]},
    "pairing of target and columns": lambda rows: {**rows, "X": rows["X"][::-1].copy()},
    "offset": lambda rows: {**rows, "offset": -rows["offset"]},
    "weights": lambda rows: {**rows, "weight": 1 + OTHER_SIGNS / 2},
}


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("what", OTHER_ROWS)
def test_a_checkpoint_over_blocks_is_bound_to_whole_rows(tmp_path, what):
    path = tmp_path / "c"
    first = binomial(path, blocks(**counts()))
    assert first.engine_ == "stream"
    assert_same_fit(binomial(path, blocks(**counts())), first)
    with pytest.raises(ValueError, match="belongs to a fit of other data or settings"):
        binomial(path, blocks(**OTHER_ROWS[what](counts())))


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_a_checkpoint_over_partitions_is_bound_to_trials(tmp_path):
    da = pytest.importorskip("dask.array")
    import dask

    def fit(rows):
        X, *others = (da.from_array(rows[name], 2048) for name in ("X", "y", "trials"))
        start = MultiStart(n_starts=0.1, max_rounds=1)
        solver = EM(checkpoint=tmp_path / "c", checkpoint_every=2, max_passes=4)
        model = MoERegressor(2, expert="binomial", start=start, solver=solver)
        return model.fit(X.rechunk((2048, 4)), others[0], trials=others[1])

    with dask.config.set(scheduler="synchronous"):
        assert_same_fit(fit(counts()), fit(counts()))
        with pytest.raises(ValueError, match="belongs to a fit of other data or settings"):
            fit(counts(trials=42 - counts()["trials"]))
