"""Fits with engine ``gpu``, on the twin of its arrays: the fits in memory, from the public face."""

from __future__ import annotations

import sys

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy import sparse
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning

import mixexp
from mixexp import (
    EM,
    GPU,
    L1,
    GaussianExpert,
    GLoMERegressor,
    MixedEffectsMoERegressor,
    MoEClassifier,
    MoERegressor,
    MultiStart,
    OnlineEM,
)
from tests.contracts.cases import problem
from tests.device_twin import COMPILER, DeviceArray, DeviceTwin

FAMILIES = ["gaussian", "poisson", "binomial", "gamma", "multinomial"]
N = 2200  # more than the distinct rows up to which a fit runs on a table on the host


def estimator(family, **settings):
    kind = MoEClassifier if family == "multinomial" else MoERegressor
    return kind(2, expert=family, **settings)


def data(gate, family):
    """A problem with a maximum that no rounding moves."""
    case = problem(gate, family, n=N, seed=3)
    if family != "multinomial":
        return case
    rng = np.random.default_rng(3)
    x = (case.rows.X - case.rows.X.mean(axis=0)) / case.rows.X.std(axis=0)
    slope = np.where(rng.random(N) < 1 / (1 + np.exp(-2 * x[:, 0])), 3.0, -3.0) * x[:, 1]
    y = np.digitize(slope + rng.logistic(size=N), [-1.0, 1.0]).astype(float)
    return case._replace(rows=case.rows._replace(y=y[:, None]))


def fitted_pair(twin, gate, family, on_device=True, engine="auto", **settings):
    """A fit in memory and one on the device, from the same start."""
    case = data(gate, family)
    settings = {"gate": gate, "start": case.labels(), **settings}
    memory = estimator(family, **settings).fit(case.rows.X, case.y, **case.inputs)
    up = twin.asarray if on_device else np.asarray
    inputs = {name: up(values) for name, values in case.inputs.items()}
    device = estimator(family, engine=engine, **settings)
    return memory, device.fit(up(case.rows.X), up(case.y), **inputs), case


@pytest.mark.parametrize("gate", ["softmax", "constant"])
@pytest.mark.parametrize("family", FAMILIES)
def test_fits_to_cupy_arrays_are_those_in_memory(xp, gate, family):
    memory, device, case = fitted_pair(xp, gate, family)
    assert (memory.engine_, device.engine_) == ("memory", "gpu")
    assert device.status_ is memory.status_ and device.regular_ == memory.regular_
    assert device.n_free_ == memory.n_free_
    shared = min(8, len(memory.objective_path_))
    assert_allclose(device.objective_path_[:shared], memory.objective_path_[:shared], rtol=1e-9)
    assert_allclose(device.loglik_, memory.loglik_, rtol=1e-9)
    X = case.rows.X[:50]
    assert_allclose(device.predict_experts(X), memory.predict_experts(X), 1e-4, 1e-4)
    assert_allclose(device.gate_proba(X), memory.gate_proba(X), rtol=1e-4, atol=1e-4)
    assert_allclose(device.expert_sizes_, memory.expert_sizes_, rtol=1e-4)
    for name in ("coef_", "intercept_", "gate_coef_", "gate_intercept_"):
        one, other = getattr(device, name), getattr(memory, name)
        assert_allclose(one, other, rtol=1e-4, atol=1e-4 * np.abs(other).max(initial=1))
    summary = np.array([device.fit_summary_.entropy, device.fit_summary_.hard_entropy])
    expected = np.array([memory.fit_summary_.entropy, memory.fit_summary_.hard_entropy])
    assert_allclose(summary / N, expected / N, rtol=1e-4, atol=1e-6)
    new = xp.asarray(case.rows.X[:5])
    assert_allclose(device.predict(new), device.predict(case.rows.X[:5]), rtol=0)


def test_searches_for_starts_meet_the_same_optima(xp):
    case = problem("softmax", "gaussian", n=N, seed=3)
    settings = {"start": MultiStart(n_starts=0.2, max_rounds=1, table_size=300)}
    memory = MoERegressor(2, **settings).fit(case.rows.X, case.y)
    device = MoERegressor(2, **settings).fit(xp.asarray(case.rows.X), case.y)
    moved = MoERegressor(2, engine="gpu", **settings).fit(case.rows.X, case.y)
    for fit in (device, moved):
        assert fit.engine_ == "gpu"
        assert_array_equal(fit.starts_.loglik, memory.starts_.loglik)
        assert_allclose(fit.loglik_, memory.loglik_, rtol=1e-10)


def test_x_does_not_come_back_in_a_fit(twin):
    """Hashes, tables of rows, statistics: less than half of 20 columns, whatever n."""
    rng = np.random.default_rng(0)
    n = 20_000
    X = rng.normal(size=(n, 20))
    y = np.where(X[:, 0] > 0, X[:, 1], -X[:, 1]) + 0.1 * rng.normal(size=n)
    on_it = twin.asarray(X)
    twin.clear()
    start = MultiStart(n_starts=0.1, max_rounds=0, table_size=100)
    model = MoERegressor(2, start=start, solver=EM(max_passes=4, tol=0))
    with pytest.warns(ConvergenceWarning):
        model.fit(on_it, y)
    of_rows = 50 * 100 * 20 * 8  # the table's, where the search leaves optima undecided
    statistics = 8 * (7 + 4 * 21 + 3 * 231)
    assert max(twin.down) <= max(of_rows, 8 * n, statistics)
    assert sum(twin.down) < X.nbytes / 2 and sum(twin.up) < X.nbytes / 2


def test_few_rows_are_merged_and_fitted_on_the_device(xp):
    X = np.repeat(np.random.default_rng(0).normal(size=(60, 2)), 2, axis=0)
    y = X[:, 0] + np.where(X[:, 1] > 0, 2.0, -2.0) + 0.1 * np.sin(50 * X[:, 0])
    labels = (X[:, 1] > 0).astype(int)
    memory = MoERegressor(2, start=labels).fit(X, y)
    device = MoERegressor(2, start=labels).fit(xp.asarray(X), xp.asarray(y))
    assert device.engine_ == "gpu"
    assert_allclose(device.loglik_, memory.loglik_, rtol=1e-8)


def test_streamed_from_the_host_when_asked(xp):
    engine = GPU(stream=True)
    memory, device, _ = fitted_pair(xp, "softmax", "gaussian", on_device=False, engine=engine)
    assert device.engine_ == "gpu"
    assert_allclose(device.coef_, memory.coef_, rtol=1e-6)


def test_float32_rows(xp):
    """Converged parameters are those of float64 sums: Gram matrices only direct the steps."""
    case = problem("softmax", "gaussian", n=N, seed=3)
    X = case.rows.X.astype(np.float32)
    settings = {"start": case.labels(), "solver": EM(gradient_tol=1e-9)}
    memory = MoERegressor(2, **settings).fit(X, case.y)
    device = MoERegressor(2, **settings).fit(xp.asarray(X), case.y)
    assert_allclose(device.coef_, memory.coef_, rtol=1e-6, atol=1e-6)
    assert_allclose(device.loglik_, memory.loglik_, rtol=1e-10)


def test_weights_and_offsets_may_be_anywhere(xp):
    case = problem("softmax", "poisson", n=N, seed=3)
    rng = np.random.default_rng(2)
    inputs = {"sample_weight": rng.uniform(0, 2, N), "exposure": rng.uniform(1, 2, N)}
    model = MoERegressor(2, expert="poisson", start=case.labels())
    memory = clone(model).fit(case.rows.X, case.y, **inputs)
    on_it = {name: xp.asarray(value) for name, value in inputs.items()}
    device = clone(model).fit(xp.asarray(case.rows.X), xp.asarray(case.y), **on_it)
    assert_allclose(device.coef_, memory.coef_, rtol=1e-5, atol=1e-5)


def test_penalised_fits(xp):
    expert = GaussianExpert(penalty=L1(0.05))
    case = problem("softmax", "gaussian", n=N, p=4, seed=3)
    model = MoERegressor(2, expert=expert, start=case.labels())
    memory = clone(model).fit(case.rows.X, case.y)
    device = clone(model).fit(xp.asarray(case.rows.X), case.y)
    assert_array_equal(device.coef_ == 0, memory.coef_ == 0)
    assert_allclose(device.coef_, memory.coef_, rtol=1e-5, atol=1e-6)


def refused(match, error=ValueError):
    return pytest.raises(error, match=match)


def test_what_the_device_cannot_do_is_refused_by_name(twin):
    X, y = np.random.default_rng(0).normal(size=(50, 2)), np.zeros(50)
    y[::2] = 1
    on_it = twin.asarray(X)
    with refused("GLoMERegressor needs X on the host"):
        GLoMERegressor(2).fit(on_it, y)
    with refused("SoftmaxGate over StudentExpert"):
        MoERegressor(2, expert="student", engine="gpu").fit(X, y)
    with refused("one response; y has 2 columns"):
        MoERegressor(2, engine="gpu").fit(X, np.column_stack([y, y]))
    with refused("does not take groups="):
        MoERegressor(2, gate="constant", engine="gpu").fit(X, y, groups=np.arange(50) // 2)
    with refused("does not take expert_prior="):
        prior = np.tile([[1.0, 0.5], [1.0, 1.0]], (25, 1))
        MoERegressor(2, engine="gpu").fit(X, y, expert_prior=prior)
    with refused("dense columns"):
        MoERegressor(2, engine="gpu").fit(sparse.csr_array(X), y)
    with refused("OnlineEM"):
        MoERegressor(2, engine="gpu", solver=OnlineEM()).fit(X, y)
    with refused("working sets"):
        wide = np.random.default_rng(1).normal(size=(40, 900))
        MoERegressor(2, engine="gpu", expert=GaussianExpert(penalty=L1(0.1))).fit(wide, y[:40])
    with refused("degree > 1"):
        MoERegressor(2, expert=GaussianExpert(degree=2)).fit(on_it, y)
    with refused("MixedEffectsMoERegressor needs X on the host"):
        MixedEffectsMoERegressor(2).fit(on_it, y, groups=np.arange(50) // 5)
    with refused("engine='memory' needs X on the host"):
        MoERegressor(2, engine="memory").fit(on_it, y)
    with refused("engine must be"):
        MoERegressor(2, engine="cuda").fit(X, y)


def test_unusable_arrays_are_refused(xp):
    X, y = np.random.default_rng(0).normal(size=(50, 2)), np.arange(50.0)
    bad = X.copy()
    bad[7, 1] = np.nan
    with refused("NaN or infinity"):
        MoERegressor(2).fit(xp.asarray(bad), y)
    with refused(r"\(n, p\).*got shape \(50,\)"):
        MoERegressor(2).fit(xp.asarray(X[:, 0]), y)
    with refused("real numbers"):
        MoERegressor(2).fit(xp.asarray(X.astype(complex)), y)
    with refused("inconsistent numbers of samples"):
        MoERegressor(2).fit(xp.asarray(X), y[:40])
    with refused("leaves X on the host"):
        MoERegressor(2, engine=GPU(stream=True)).fit(xp.asarray(X), y)
    with refused("number of bytes"):
        MoERegressor(2, engine=GPU(memory=-1)).fit(X, y)


def test_whole_numbers_on_the_device_are_taken(xp):
    X = np.random.default_rng(0).integers(0, 99, size=(80, 2))
    y = X[:, 0] + np.where(X[:, 1] > 50, 40.0, 0.0) + np.sin(X[:, 1])
    labels = (X[:, 1] > 50).astype(int)
    memory = MoERegressor(2, start=labels).fit(X, y)
    device = MoERegressor(2, start=labels).fit(xp.asarray(X), y)
    assert_allclose(device.coef_, memory.coef_, rtol=1e-6)


def test_x_larger_than_the_device_is_an_error_or_streamed(monkeypatch):
    case = problem("softmax", "gaussian", n=20_000, seed=3)
    small = DeviceTwin(compiled=COMPILER is not None, free=case.rows.X.nbytes)
    monkeypatch.setitem(sys.modules, "cupy", small)
    settings = {"start": case.labels(), "solver": EM(max_passes=3)}
    with refused(r"may be taken\. engine=GPU\(stream=True\)"):
        MoERegressor(2, engine="gpu", **settings).fit(case.rows.X, case.y)


def test_without_cupy_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "cupy", None)
    with refused(r"mixexp\[gpu12\]", ImportError):
        MoERegressor(2, engine="gpu").fit(np.eye(9), np.arange(9.0))


def test_settings_are_those_of_a_part(twin, tmp_path):
    model = MoERegressor(2, engine=GPU(), start=None).set_params(engine__memory=10**8)
    assert clone(model).engine.memory == 10**8
    case = problem("softmax", "gaussian", n=N, seed=3)
    model.set_params(start=case.labels()).fit(case.rows.X, case.y)
    model.save(tmp_path / "model.mixexp")
    loaded = mixexp.load(tmp_path / "model.mixexp")
    assert loaded.engine.memory == 10**8
    assert_array_equal(loaded.predict(case.rows.X), model.predict(case.rows.X))


def test_checkpoints_continue_on_the_device(twin, tmp_path):
    case = problem("softmax", "gaussian", n=N, seed=3)
    X, settings = twin.asarray(case.rows.X), {"checkpoint": tmp_path / "fit.state"}
    start = case.labels()
    with pytest.warns(ConvergenceWarning):
        MoERegressor(2, start=start, solver=EM(max_passes=5, **settings)).fit(X, case.y)
    continued = MoERegressor(2, start=start, solver=EM(**settings)).fit(X, case.y)
    whole = MoERegressor(2, start=start, solver=EM()).fit(X, case.y)
    assert_array_equal(continued.objective_path_, whole.objective_path_)


def test_callbacks_may_score_what_lies_on_the_device(twin):
    monitor = pytest.importorskip("sklearn.callback").ScoringMonitor(scoring="r2")
    case = problem("softmax", "gaussian", n=N, seed=3)
    model = MoERegressor(2, start=case.labels(), solver=EM(max_passes=2, tol=0))
    model.set_callbacks(monitor)
    with pytest.warns(ConvergenceWarning):
        model.fit(twin.asarray(case.rows.X), case.y)
    assert len(monitor.get_logs().data_as_pandas) >= model.n_iter_


def test_no_fitted_attribute_is_on_the_device(twin):
    _, device, _ = fitted_pair(twin, "softmax", "gaussian")
    assert not any(isinstance(value, DeviceArray) for value in vars(device).values())
    assert not any(isinstance(leaf, DeviceArray) for leaf in device._params_.expert)
