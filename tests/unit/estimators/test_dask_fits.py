"""Fits to Dask collections are those of the same rows in memory, however the rows are cut."""

from __future__ import annotations

import pickle
import sys

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from mixexp import MoEClassifier, MoERegressor, MultiStart, OnlineEM, SelectionStudy
from mixexp.em.engines import engine_for
from mixexp.em.params import stack, tree_map
from mixexp.sources.dask import block_of

dask = pytest.importorskip("dask")
da = pytest.importorskip("dask.array")
dd = pytest.importorskip("dask.dataframe")

pytestmark = pytest.mark.usefixtures("in_this_process")

N = 3000
LIGHT = MultiStart(n_starts=0.2, max_rounds=1)
CUTS = (1000, 0, 1, 1499, 500)  # uneven chunks, one of them empty


@pytest.fixture(scope="module")
def table() -> pd.DataFrame:
    rng = np.random.default_rng(0)
    table = pd.DataFrame(rng.normal(size=(N, 3)), columns=["a", "b", "c"])
    first = rng.uniform(size=N) < 1 / (1 + np.exp(-2 * table.a))
    mean = np.where(first, 1 + 0.8 * table.b, -1 - 0.5 * table.c)
    table["y"] = mean + 0.3 * rng.normal(size=N)
    table["w"] = rng.uniform(0.5, 2, N) * (rng.uniform(size=N) < 0.9)
    table["exposure"] = rng.uniform(1, 3, N)
    table["count"] = rng.poisson(table.exposure * np.exp(0.8 * mean))
    table["label"] = np.array(["high", "low", "rare"])[
        np.where(np.arange(N) < 40, 2, 3 * mean + rng.logistic(size=N) < 0)
    ]
    return table


X = ["a", "b", "c"]


def assert_same_fit(model, memory) -> None:
    assert (model.engine_, memory.engine_) == ("dask", "memory")
    assert_allclose(model.loglik_, memory.loglik_, rtol=1e-10)
    for name in ("coef_", "intercept_", "gate_coef_", "gate_intercept_", "expert_sizes_"):
        ours, theirs = getattr(model, name), getattr(memory, name)
        assert_allclose(ours, theirs, rtol=1e-6, atol=1e-6, err_msg=name)
    assert model.starts_.equals(memory.starts_)
    assert (model.n_free_, model.status_) == (memory.n_free_, memory.status_)
    assert_allclose(model.n_units_, memory.n_units_)


def test_arrays_of_uneven_and_empty_chunks(table) -> None:
    values, y, w = table[X].to_numpy(), table["y"].to_numpy(), table["w"].to_numpy()
    memory = MoERegressor(2, start=LIGHT).fit(values, y, w)
    columns = da.from_array(values, chunks=(CUTS, (2, 1)))
    model = MoERegressor(2, start=LIGHT).fit(columns, da.from_array(y, chunks=700), w)
    assert_same_fit(model, memory)


def test_frames_of_unknown_divisions(table) -> None:
    memory = MoERegressor(2, start=LIGHT).fit(table[X], table["y"])
    frame = dd.from_pandas(table, npartitions=4).clear_divisions()
    model = MoERegressor(2, start=LIGHT).fit(frame[X], frame["y"].to_dask_array())
    assert_same_fit(model, memory)
    assert_array_equal(model.feature_names_in_, X)
    assert_allclose(model.predict(frame[X]).compute(), memory.predict(table[X]), rtol=1e-6)


def test_row_wise_inputs(table) -> None:
    memory = MoERegressor(2, expert="poisson", start=LIGHT)
    memory.fit(table[X], table["count"], exposure=table["exposure"])
    frame = dd.from_pandas(table, npartitions=3)
    model = MoERegressor(2, expert="poisson", start=LIGHT, engine="dask")
    model.fit(frame[X], frame["count"], exposure=frame["exposure"])
    assert_same_fit(model, memory)


def test_a_class_that_is_absent_from_most_partitions(table) -> None:
    memory = MoEClassifier(1).fit(table[X], table["label"])
    frame = dd.from_pandas(table, npartitions=6)
    assert (frame["label"].partitions[-1] != "rare").all().compute()
    model = MoEClassifier(1).fit(frame[X], frame["label"])
    assert_array_equal(model.classes_, memory.classes_)
    assert_same_fit(model, memory)


def test_rows_in_memory_with_the_engine_named(table) -> None:
    memory = MoERegressor(2, start=LIGHT).fit(table[X], table["y"])
    model = MoERegressor(2, engine="dask", start=LIGHT).fit(table[X], table["y"])
    assert_same_fit(model, memory)
    assert_array_equal(model.feature_names_in_, X)


def test_dask_collections_brought_into_memory(table) -> None:
    frame = dd.from_pandas(table, npartitions=3)
    model = MoERegressor(1, engine="memory").fit(frame[X], frame["y"], frame["w"])
    memory = MoERegressor(1).fit(table[X], table["y"], table["w"])
    assert model.engine_ == "memory"
    assert_allclose(model.coef_, memory.coef_, rtol=1e-12)
    assert_array_equal(model.feature_names_in_, X)


PAIRS = [("softmax", "gaussian"), ("gaussian", "gaussian"), ("softmax", "student")]


@pytest.mark.parametrize(("gate", "expert"), PAIRS)
def test_statistics_at_equal_parameters(table, gate, expert) -> None:
    values, y, w = table[X].to_numpy(), table["y"].to_numpy(), table["w"].to_numpy()
    estimator = MoERegressor(2, gate=gate, expert=expert)
    model, rows = estimator._prepare(values, y, w)
    cut = da.from_array(values, chunks=(CUTS, (3,)))
    parts = estimator._prepare(cut, da.from_array(y, chunks=(CUTS,)), w)[1]
    params = stack([model.from_responsibilities(rows, _split(values)[None])])
    params = tree_map(lambda leaf: leaf[0], params)
    ours = engine_for(parts, model).run(model, params)
    tree_map(_assert_equal, ours, engine_for(rows, model).run(model, params))


def _split(values):
    first = 1 / (1 + np.exp(-values[:, 0]))
    return np.stack([first, 1 - first], axis=1)


@pytest.mark.parametrize("n", [400, 3000])
def test_what_travels_in_a_pass(table, n) -> None:
    """The numbers of docs/cluster.rst, for any number of rows."""
    K, q, m = 2, 4, 1
    values, y = table[X].to_numpy()[:n], table["y"].to_numpy()[:n]
    model, rows = MoERegressor(K)._prepare(da.from_array(values, chunks=(200, 3)), y, None)
    params = stack([model.initial(rows.example)])
    seen = []
    rows.source.reduce = lambda function, merge: seen.append(function) or (n, None)
    engine = engine_for(rows, model)
    engine.run(model, params)
    value = seen[0](block_of(("X", "y"), 0, (values, y)))[1]
    d = K * q + K * m * (q + 1)
    s = 3 + K * q + K * (K - 1) // 2 * q**2 + K * m * (q**2 + q + 1) + K
    assert (_count(params), _count(value)) == (d, s)
    assert 8 * d < len(pickle.dumps(seen[0])) < 8 * d + 4096


def _count(tree) -> int:
    sizes = []
    tree_map(lambda leaf: sizes.append(np.size(leaf)), tree)
    return sum(sizes)


def _assert_equal(ours, theirs) -> None:
    assert_allclose(ours, theirs, rtol=1e-12, atol=1e-12 * np.abs(theirs).max())


def test_what_is_wrong_is_said_with_its_place(table) -> None:
    values, y = table[X].to_numpy().copy(), table["y"].to_numpy()
    values[1700, 1] = np.nan
    broken = da.from_array(values, chunks=(CUTS, (3,)))
    with pytest.raises(ValueError, match=r"partition 3.*column 'x1' holds nan"):
        MoERegressor(2, start=LIGHT).fit(broken, da.from_array(y, chunks=(CUTS,)))
    frame = dd.from_pandas(table, npartitions=3)
    with pytest.raises(ValueError, match=r"y has 5 partitions and X has 3"):
        MoERegressor(2, start=LIGHT).fit(frame[X], da.from_array(y, chunks=(CUTS,)))
    with pytest.raises(ValueError, match=r"groups= is not available with engine='dask'"):
        MoERegressor(2, start=LIGHT).fit(frame[X], frame["y"], groups=frame["label"])
    with pytest.raises(ValueError, match="fit needs y"):
        MoERegressor(2, start=LIGHT).fit(frame[X], None)
    with pytest.raises(ValueError, match="engine='stream' does not take Dask collections"):
        MoERegressor(2, engine="stream").fit(frame[X], frame["y"])


def test_without_dask_the_extra_is_named(table, monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "dask.array", None)
    with pytest.raises(ImportError, match=r'pip install "mixexp\[dask\]"'):
        MoERegressor(2, engine="dask", start=LIGHT).fit(table[X], table["y"])


def test_ordered_classes_keep_the_order_of_their_categories(table) -> None:
    labels = pd.Categorical.from_codes(np.digitize(table["y"], [-1, 1]), ["low", "mid", "high"])
    table = table.assign(grade=labels.as_ordered())
    memory = MoEClassifier(1, expert="ordinal").fit(table[["a"]], table["grade"])
    frame = dd.from_pandas(table, npartitions=3)
    model = MoEClassifier(1, expert="ordinal").fit(frame[["a"]], frame["grade"])
    assert model.classes_.tolist() == memory.classes_.tolist() == ["low", "mid", "high"]
    assert_allclose(model.coef_, memory.coef_, rtol=1e-6)
    with pytest.raises(ValueError, match="categories Dask does not know"):
        MoEClassifier(1, expert="ordinal").fit(frame[["a"]], frame["grade"].cat.as_unknown())


def test_a_study_by_an_information_criterion(table) -> None:
    frame = dd.from_pandas(table, npartitions=3)
    study = SelectionStudy(MoERegressor(start=LIGHT), {"n_experts": [1, 2]}, cv=None)
    found = study.fit(frame[X], frame["y"], frame["w"]).result_
    memory = study.fit(table[X], table["y"], table["w"]).result_
    assert found.best_estimator_.engine_ == "dask"
    assert found.best_params_ == memory.best_params_
    assert_allclose(found.table["bic"], memory.table["bic"], rtol=1e-10)
    assert found.data == pytest.approx(memory.data)
    with pytest.raises(ValueError, match="Folds need rows in memory"):
        SelectionStudy(MoERegressor(), {"n_experts": [1, 2]}).fit(frame[X], frame["y"])


def test_mini_batches_are_refused_before_a_partition_is_read() -> None:
    def unread(block):
        raise AssertionError("a partition was read")

    rows = da.ones((200, 2), chunks=(100, 2)).map_blocks(unread, dtype=float, meta=np.empty((0, 0)))
    with pytest.raises(ValueError, match="engine='dask' does not give. Use solver=EM"):
        MoERegressor(2, solver=OnlineEM()).fit(rows, da.ones(200, chunks=100))


def test_what_needs_rows_in_memory_says_so(table) -> None:
    frame = dd.from_pandas(table, npartitions=3)
    with pytest.raises(ValueError, match="partial_fit takes .* in memory; got a Dask DataFrame"):
        MoERegressor(2).partial_fit(frame[X], frame["y"])
    model = MoERegressor(1).fit(frame[X], frame["y"])
    with pytest.raises(ValueError, match="needs rows in memory; got a Dask DataFrame"):
        model.inference(frame[X], frame["y"])
