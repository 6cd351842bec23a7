"""Datasets take what memory takes: orders of labels, kinds of columns, numbers for all rows."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.feather as feather
import pyarrow.parquet as pq
import pytest
from numpy.testing import assert_allclose
from scipy import sparse

from mixexp import ArrayDataset, BlockDataset, FileDataset, MoEClassifier, MoERegressor
from mixexp.sources import Source

LEVELS = ["low", "mid", "high"]


@pytest.fixture(scope="module")
def graded():
    """X of one column, and grades whose order is not that of the alphabet."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=2500)
    grade = np.digitize(2 * x + rng.logistic(size=len(x)), [-1, 1])
    return pd.DataFrame({"x": x}), pd.Categorical.from_codes(grade, LEVELS, ordered=True)


def in_files(folder, X, y, write=pq.write_table):
    """The rows in two files."""
    folder.mkdir()
    suffix = "parquet" if write is pq.write_table else "feather"
    for i, part in enumerate((slice(0, 1100), slice(1100, None))):
        frame = X.iloc[part].assign(y=y[part])
        write(pa.Table.from_pandas(frame, preserve_index=False), folder / f"{i}.{suffix}")
    return FileDataset(folder, target="y")


def in_blocks(X, y):
    return BlockDataset([(X.iloc[i : i + 900], y[i : i + 900]) for i in range(0, len(X), 900)])


SOURCES = {
    "arrays": lambda folder, X, y: ArrayDataset(X, y, block_rows=900),
    "blocks": lambda folder, X, y: in_blocks(X, y),
    "parquet": lambda folder, X, y: in_files(folder / "rows", X, y),
    "arrow": lambda folder, X, y: in_files(folder / "rows", X, y, feather.write_feather),
}


@pytest.mark.parametrize("engine", ["stream", "memory"])
@pytest.mark.parametrize("kind", SOURCES)
def test_ordered_labels_keep_their_order(kind, engine, graded, tmp_path):
    X, y = graded
    memory = MoEClassifier(1, expert="ordinal").fit(X, y)
    model = MoEClassifier(1, expert="ordinal", engine=engine)
    model.fit(SOURCES[kind](tmp_path, X, y))
    assert model.classes_.tolist() == memory.classes_.tolist() == LEVELS
    assert_allclose(model.loglik_, memory.loglik_, rtol=1e-10)


def test_ordered_labels_beside_arrays_keep_their_order(graded):
    X, y = graded
    memory = MoEClassifier(1, expert="ordinal").fit(X, y)
    model = MoEClassifier(1, expert="ordinal", engine="stream").fit(X, pd.Series(y))
    assert model.classes_.tolist() == LEVELS
    assert_allclose(model.loglik_, memory.loglik_, rtol=1e-10)


@pytest.mark.parametrize("engine", ["stream", "memory"])
def test_other_orders_further_on_are_refused_by_place(engine, graded, tmp_path):
    X, y = graded
    other = y.reorder_categories(LEVELS[::-1])
    model = MoEClassifier(1, expert="ordinal", engine=engine)
    blocks = BlockDataset([(X, y), (X, other)])
    with pytest.raises(ValueError, match=r"block 1 has the ordered categories \['high'.*Give"):
        model.fit(blocks)
    dataset = in_files(tmp_path / "rows", X, y)
    frame = X.assign(y=other)
    pq.write_table(pa.Table.from_pandas(frame, preserve_index=False), dataset.files[1])
    with pytest.raises(ValueError, match=r"1\.parquet, row group 0: 'y' has the ordered .*Write"):
        model.fit(dataset)


def test_an_order_that_a_file_has_lost_is_refused(graded, tmp_path):
    X, y = graded
    path = tmp_path / "rows.parquet"
    pq.write_table(pa.Table.from_pandas(X.assign(y=y)), path, use_dictionary=["x"])
    with pytest.raises(ValueError, match=r"row group 0: 'y' is ordered and .* the order is lost"):
        FileDataset(path, target="y")


def test_an_order_that_comes_only_later_is_refused(graded):
    X, y = graded
    blocks = BlockDataset([(X, np.asarray(y)), (X, y)])
    with pytest.raises(ValueError, match=r"block 1 has the .*; the first block has .* None"):
        MoEClassifier(1).fit(blocks)


ROW_WISE = {
    "weight": np.full(60, 2.0),
    "offset": np.full(60, 0.5),
    "exposure": np.full(60, 2.0),
    "trials": np.full(60, 3.0),
}


@pytest.mark.parametrize("engine", ["stream", "memory"])
@pytest.mark.parametrize("first", [False, True])
@pytest.mark.parametrize("name", ROW_WISE)
def test_inputs_of_some_blocks_alone_are_refused(name, first, engine, rng):
    X = rng.normal(size=(60, 2))
    bare = {"X": X, "y": rng.integers(0, 2, 60)}
    full = bare | {name: ROW_WISE[name]}
    blocks = BlockDataset([full, bare] if first else [bare, full])
    family = "binomial" if name == "trials" else "poisson"
    here, there = ("X, y", f"X, y, {name}") if first else (f"X, y, {name}", "X, y")
    with pytest.raises(ValueError, match=rf"block 1 holds {here}; the first block holds {there}\."):
        MoERegressor(1, expert=family, engine=engine).fit(blocks)


@pytest.mark.parametrize("engine", ["stream", "memory"])
def test_blocks_of_another_form_are_refused(engine, rng):
    X = pd.DataFrame(rng.normal(size=(60, 2)), columns=["a", "b"])
    y = rng.normal(size=60)
    others = {
        r"names the columns \['b', 'a'\]; .*in order": (X[["b", "a"]], y),
        r"has 1 columns of X; the first block has 2": (X[["a"]], y),
        r"has 2 columns of y .*; the first block has 0": (X, np.column_stack([y, y])),
        r"holds X; the first block holds X, y": (X, None),
    }
    for said, block in others.items():
        with pytest.raises(ValueError, match=f"block 1 {said}"):
            MoERegressor(1, engine=engine).fit(BlockDataset([(X, y), block]))


@pytest.mark.parametrize("engine", ["stream", "dask"])
def test_columns_of_all_kinds_are_those_of_memory(engine, rng):
    if engine == "dask":
        pytest.importorskip("dask.dataframe")
    n = 2500
    X = pd.DataFrame({"a": rng.normal(size=n), "b": rng.uniform(size=n) > 0.5})
    X["c"] = pd.array(rng.integers(0, 5, n), dtype="Int64")
    y = X["a"] + X["b"] + 0.3 * rng.normal(size=n)
    for given in (X, X.astype(object), X[["a", "b"]].astype({"a": np.float32})):
        memory = MoERegressor(1).fit(given, y)
        model = MoERegressor(1, engine=engine).fit(given, y)
        assert model.engine_ == engine
        assert_allclose(model.loglik_, memory.loglik_, rtol=1e-7)
    flags = X["b"].astype("boolean")
    memory = MoEClassifier(1).fit(X[["a"]], flags)
    model = MoEClassifier(1, engine=engine).fit(X[["a"]], flags)
    assert model.classes_.tolist() == memory.classes_.tolist()
    with pytest.raises(ValueError, match=r"row 7 of it: column 'c' holds nan"):
        MoERegressor(1, engine=engine).fit(X.assign(c=X["c"].where(X.index != 7)), y)
    with pytest.raises(ValueError, match=r"the columns \['b'\] hold texts, dates or the like"):
        MoERegressor(1, engine=engine).fit(X.assign(b="text"), y)


def test_columns_of_all_kinds_in_blocks(rng):
    X = pd.DataFrame({"a": rng.normal(size=2500), "b": rng.uniform(size=2500) > 0.5})
    y = X["a"] + rng.normal(size=len(X))
    memory = MoERegressor(1).fit(X, y)
    assert_allclose(MoERegressor(1).fit(in_blocks(X, y)).loglik_, memory.loglik_, rtol=1e-10)


@pytest.mark.parametrize("engine", ["stream", "dask"])
def test_one_number_stands_for_all_rows(engine, rng):
    if engine == "dask":
        pytest.importorskip("dask.dataframe")
    X = rng.normal(size=(2500, 1))
    y = rng.poisson(np.exp(X[:, 0]))
    memory = MoERegressor(1, expert="poisson").fit(X, y, 0.5, exposure=2.0)
    model = MoERegressor(1, expert="poisson", engine=engine).fit(X, y, 0.5, exposure=2.0)
    assert model.engine_ == engine
    assert_allclose(model.intercept_, memory.intercept_, rtol=1e-8)
    assert_allclose(model.loglik_, memory.loglik_, rtol=1e-10)
    block = {"X": X, "y": y, "weight": 0.5, "exposure": 2.0}
    blocks = MoERegressor(1, expert="poisson").fit(BlockDataset([block]))
    assert_allclose(blocks.loglik_, memory.loglik_, rtol=1e-10)


@pytest.mark.parametrize("missing", [None, np.nan, pd.NA])
def test_missing_labels_are_named_with_their_block(missing, rng):
    X = rng.normal(size=(50, 1))
    y = np.array(["no", "yes"] * 25, dtype=object)
    gaps = y.copy()
    gaps[[7, 9]] = missing
    with pytest.raises(ValueError, match=r"2 labels are missing, the first in block 1, row 7 of"):
        MoEClassifier(1).fit(BlockDataset([(X, y), (X, gaps)]))


def test_texts_and_numbers_as_labels_are_refused(rng):
    X = rng.normal(size=(50, 1))
    blocks = BlockDataset([(X, np.array(["0", "1"] * 25)), (X, np.array([0, 1] * 25))])
    with pytest.raises(ValueError, match=r"texts as labels in some blocks .* '0' and 0\. Make"):
        MoEClassifier(1).fit(blocks)


def test_what_an_engine_does_not_take_comes_with_the_next_step(rng):
    X, y = rng.normal(size=(60, 2)), rng.normal(size=60)
    with pytest.raises(ValueError, match=r"sparse matrix of X\. Use engine='memory'"):
        MoERegressor(1, engine="stream").fit(sparse.csr_array(X), y)
    for engine in ("stream", "memory"):
        with pytest.raises(ValueError, match=r"not take Elsewhere\. Leave engine='auto'"):
            MoERegressor(1, engine=engine).fit(Elsewhere())


class Elsewhere(Source):
    """A source that does not give its blocks one after the other."""

    def reduce(self, function, merge):
        raise AssertionError("nothing is read")

    def identity(self):
        return "elsewhere"


class Held(np.ndarray):
    """An array that could hold Dask's, as xarray's do, and is in memory."""

    def __dask_graph__(self):
        return None


def test_arrays_that_only_could_be_of_dask_are_in_memory(rng):
    X, y = rng.normal(size=(60, 2)), rng.normal(size=60)
    model = MoERegressor(1).fit(X.view(Held), y)
    assert model.engine_ == "memory"
    assert_allclose(model.coef_, MoERegressor(1).fit(X, y).coef_)
