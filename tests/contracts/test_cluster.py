"""The real scheduler of `distributed`, workers in processes of their own, and what befalls them."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import joblib
import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from mixexp import EM, MoERegressor, MultiStart, SelectionStudy
from mixexp.sources.dask import DaskSource

dask = pytest.importorskip("dask")
da = pytest.importorskip("dask.array")
distributed = pytest.importorskip("distributed")

ROOT = Path(__file__).resolve().parents[2]
CHUNKS = (700, 0, 1300, 900, 1100)
LIGHT = MultiStart(n_starts=0.2, max_rounds=1)
ROUGH = {"acceleration": 0, "tol": 1e-9, "gradient_tol": 1e-4}
PLAIN = EM(**ROUGH)  # of many passes, so that there is time to disturb them


@pytest.fixture(scope="module")
def sample():
    """Overlapping regimes, whose fit takes some tens of passes."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(4000, 2))
    first = rng.uniform(size=4000) < 1 / (1 + np.exp(-X[:, 0]))
    y = np.where(first, 0.5 + X[:, 1], -0.5 * X[:, 1]) + 0.7 * rng.normal(size=4000)
    return X, y


def _cut(sample):
    """The sample as persisted arrays of uneven chunks."""

    X, y = sample
    return dask.persist(da.from_array(X, chunks=(CHUNKS, (2,))), da.from_array(y, chunks=(CHUNKS,)))


@pytest.fixture(scope="module")
def local(sample):
    """The fit to the same chunks without a cluster."""
    with dask.config.set(scheduler="synchronous"):
        return MoERegressor(2, solver=PLAIN, start=LIGHT).fit(*_cut(sample))


@pytest.fixture(scope="module")
def client(local):
    """A client of two workers with one thread each."""
    options = {"n_workers": 2, "threads_per_worker": 1, "processes": True}
    with (
        distributed.LocalCluster(**options, dashboard_address=":0") as cluster,
        distributed.Client(cluster) as client,
    ):
        yield client


def _assert_equal_fits(model, other) -> None:
    """Bit for bit."""
    for name in ("coef_", "intercept_", "dispersion_", "gate_coef_", "gate_intercept_"):
        assert_array_equal(getattr(model, name), getattr(other, name), err_msg=name)
    assert model.loglik_ == other.loglik_
    assert_array_equal(model.objective_path_, other.objective_path_)


def _before_pass(monkeypatch, number, action) -> list[int]:
    """Calls ``action`` at the beginning of the reduction of this number; counts reductions."""
    count, reduce = [0], DaskSource.reduce

    def counted(self, function, merge):
        count[0] += 1
        if count[0] == number:
            action()
        return reduce(self, function, merge)

    monkeypatch.setattr(DaskSource, "reduce", counted)
    return count


def test_the_fit_of_a_cluster(client, sample, local) -> None:
    model = MoERegressor(2, solver=PLAIN, start=LIGHT).fit(
        *_cut(sample)
    )  # which only the fit holds
    _assert_equal_fits(model, local)
    memory = MoERegressor(2, solver=PLAIN, start=LIGHT).fit(*sample)
    assert_allclose(model.loglik_, memory.loglik_, rtol=1e-10)
    assert_allclose(model.coef_, memory.coef_, rtol=1e-6, atol=1e-6)
    assert_allclose(model.gate_coef_, memory.gate_coef_, rtol=1e-6, atol=1e-6)

    predicted = model.predict(_cut(sample)[0])
    assert predicted.chunks == (CHUNKS,)
    assert_allclose(predicted.compute(), memory.predict(sample[0]), rtol=1e-6, atol=1e-6)


def test_a_killed_worker_changes_nothing_but_the_time(client, sample, local, monkeypatch) -> None:
    before = set(client.run(os.getpid).values())
    victim = min(before)
    X, y = _cut(sample)
    count = _before_pass(monkeypatch, 15, lambda: os.kill(victim, signal.SIGKILL))
    _assert_equal_fits(MoERegressor(2, solver=PLAIN, start=LIGHT).fit(X, y), local)
    assert count[0] > local.n_iter_ > 20
    client.wait_for_workers(2, timeout=60)
    after = set(client.run(os.getpid).values())
    assert victim not in after and before - {victim} <= after


@pytest.mark.slow
def test_a_worker_that_dies_while_it_computes(client, sample, local, monkeypatch, tmp_path) -> None:
    client.wait_for_workers(2, timeout=60)
    X, y = _cut(sample)
    trap = tmp_path / "trap"
    X = X.map_blocks(_fatal_once, str(trap), dtype=X.dtype)  # computed anew in every pass
    count = _before_pass(monkeypatch, 8, trap.touch)
    _assert_equal_fits(MoERegressor(2, solver=PLAIN, start=LIGHT).fit(X, y), local)
    assert count[0] > local.n_iter_ > 20
    assert not trap.exists()
    client.wait_for_workers(2, timeout=60)


def _fatal_once(chunk, trap):
    """The chunk; the first worker that finds the trap removes it and dies in the task."""
    with contextlib.suppress(FileNotFoundError):
        os.remove(trap)
        os.kill(os.getpid(), signal.SIGKILL)
    return chunk


@contextlib.contextmanager
def _cluster_of_processes(folder):
    """A scheduler and two workers as processes, and a client: the scheduler, to be killed."""
    file = folder / "scheduler.json"
    paths = [str(ROOT), os.environ.get("PYTHONPATH", "")]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths))}

    def start(program, *options):
        command = [sys.executable, "-m", f"distributed.cli.{program}", *options]
        command += ["--scheduler-file", str(file), "--no-dashboard"]
        return subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL, cwd=folder)

    processes = [start("dask_scheduler", "--host", "127.0.0.1", "--port", "0")]
    try:
        deadline = time.monotonic() + 60
        while not file.exists() and time.monotonic() < deadline:
            time.sleep(0.1)
        processes += [start("dask_worker", "--nthreads", "1", "--no-nanny") for _ in range(2)]
        client = distributed.Client(scheduler_file=str(file))
        client.wait_for_workers(2, timeout=60)
        with client.as_current():
            yield processes[0]
        client.close(timeout=1)
    finally:
        for process in processes:
            process.kill()
            process.wait()


@pytest.mark.slow
def test_a_fit_goes_on_after_its_scheduler_died(sample, local, monkeypatch, tmp_path) -> None:
    solver = EM(**ROUGH, checkpoint=tmp_path / "fit.checkpoint", checkpoint_every=3)
    (tmp_path / "first").mkdir()
    with _cluster_of_processes(tmp_path / "first") as scheduler, monkeypatch.context() as patch:
        X, y = _cut(sample)
        _before_pass(patch, 15, scheduler.kill)
        with pytest.raises(
            ConnectionError, match=r"(?s)cancelled .*scheduler.*EM\(checkpoint=path\)"
        ):
            MoERegressor(2, solver=solver, start=LIGHT).fit(X, y)
    assert solver.checkpoint.exists()
    (tmp_path / "second").mkdir()
    with _cluster_of_processes(tmp_path / "second"):
        count = _before_pass(monkeypatch, 0, None)
        model = MoERegressor(2, solver=solver, start=LIGHT).fit(*_cut(sample))
    _assert_equal_fits(model, local)
    assert count[0] < local.n_iter_  # it did not begin anew


@pytest.mark.slow
def test_a_study_runs_on_the_workers(client, rng) -> None:
    X = rng.normal(size=(120, 2))
    y = np.where(X[:, 0] > 0, 2 + X[:, 1], -X[:, 1]) + 0.2 * rng.normal(size=120)
    study = SelectionStudy(MoERegressor(), {"n_experts": [1, 2]}, criterion="cv", cv=3)
    expected = study.fit(X, y).result_
    with joblib.parallel_config(backend="dask"):
        found = study.fit(X, y).result_
    assert any("task" in name for name in _tasks(client))
    assert found.best_params_ == expected.best_params_
    columns = ["loglik", "bic", "cv_loglik"]
    assert_array_equal(found.table[columns], expected.table[columns])


@pytest.mark.slow
def test_searches_for_starts_run_on_the_workers(client, sample) -> None:
    X, y = _cut(sample)
    model = MoERegressor(3, start=MultiStart(n_starts=0.2, max_rounds=1, n_searches=2))
    expected = model.fit(X, y).starts_
    assert not any("climbed" in name for name in _tasks(client))
    with joblib.parallel_config(backend="dask"):
        model.fit(X, y)
    assert model.starts_.equals(expected)
    assert any("climbed" in name for name in _tasks(client))


def _tasks(client) -> list[str]:
    """Names of the kinds of task that the scheduler has seen."""
    return client.run_on_scheduler(lambda dask_scheduler: list(dask_scheduler.task_prefixes))
