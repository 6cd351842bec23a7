"""Dask collections as a source: partitions that belong together, sums that are always the same."""

from __future__ import annotations

from functools import partial

import numpy as np
import pandas as pd
import pytest

from mixexp.sources.dask import DaskSource

dask = pytest.importorskip("dask")
da = pytest.importorskip("dask.array")
dd = pytest.importorskip("dask.dataframe")

pytestmark = pytest.mark.usefixtures("in_this_process")


@pytest.fixture
def table(rng) -> pd.DataFrame:
    return pd.DataFrame(rng.normal(size=(50, 4)), columns=["a", "b", "y", "w"])


def _blocks(source) -> list:
    return source.reduce(lambda block: [block], lambda left, right: left + right)


def _together(source, name) -> np.ndarray:
    return np.concatenate([getattr(block, name) for block in _blocks(source)])


def _check_is(source, table) -> None:
    """The source holds the table's rows in their order."""
    np.testing.assert_array_equal(_together(source, "X"), table[["a", "b"]].to_numpy())
    np.testing.assert_array_equal(_together(source, "y"), table["y"].to_numpy())
    if "weight" in source.row_inputs:
        np.testing.assert_array_equal(_together(source, "weight"), table["w"].to_numpy())


def test_columns_of_a_frame(table) -> None:
    frame = dd.from_pandas(table, npartitions=7)
    source = DaskSource(frame[["a", "b"]], frame["y"], weight=frame["w"])
    _check_is(source, table)
    assert source.feature_names == ["a", "b"]
    assert source.row_inputs == ("weight",)
    assert source.n_features == 2
    assert [block.place for block in _blocks(source)][-1] == "partition 6"


def test_what_inputs_share_is_read_once(table) -> None:
    reads = []

    def load(start):
        reads.append(start)
        return table.iloc[start : start + 10]

    frame = dd.from_map(load, range(0, 50, 10), meta=table.iloc[:0])
    frame = frame.assign(a=frame.a + 0)
    source = DaskSource(frame[["a", "b"]], frame["y"], weight=frame["w"])
    reads.clear()
    _check_is(source, table)
    assert len(reads) == 3 * 5  # three passes


def test_arrays_are_cut_at_the_rows_of_X(table) -> None:
    values = table.to_numpy()
    X = da.from_array(values[:, :2], chunks=((20, 0, 30), (1, 1)))
    y = da.from_array(values[:, 2], chunks=7)
    _check_is(DaskSource(X, y, weight=values[:, 3]), table)
    assert len(_blocks(DaskSource(X, y))) == 2  # a partition without rows has no block


def test_frames_are_cut_at_the_divisions_of_X(table) -> None:
    frame = dd.from_pandas(table, npartitions=7)
    y = dd.from_pandas(table["y"], npartitions=3)
    assert frame.divisions != y.divisions
    _check_is(DaskSource(frame[["a", "b"]], y), table)


def test_partitions_of_unknown_size_are_paired(table) -> None:
    frame = dd.from_pandas(table, npartitions=4).clear_divisions()
    y = frame["y"].to_dask_array()
    assert np.isnan(y.chunks[0]).all()
    _check_is(DaskSource(frame[["a", "b"]], y), table)
    _check_is(DaskSource(frame[["a", "b"]].to_dask_array(), frame["y"]), table)


def test_nullable_numbers_and_one_number_for_all_rows(table) -> None:
    table["a"] = np.arange(50)
    table["y"] = table["y"].round()
    given = table.astype({"a": "Int64", "b": "Float64", "y": "Int64"})
    given.loc[3, ["a", "y"]] = pd.NA
    frame = dd.from_pandas(given, npartitions=3)
    source = DaskSource(frame[["a", "b"]], frame["y"], trials=12)
    table.loc[3, ["a", "y"]] = np.nan
    _check_is(source, table)
    np.testing.assert_array_equal(_together(source, "trials"), np.full(50, 12))


def test_single_precision_stays(table) -> None:
    frame = dd.from_pandas(table.astype(np.float32), npartitions=2)
    assert _together(DaskSource(frame[["a", "b"]]), "X").dtype == np.float32


def test_labels_stay_as_they_are(table) -> None:
    table["label"] = pd.Categorical(["no", "yes"] * 25)
    frame = dd.from_pandas(table, npartitions=3)
    labels = _together(DaskSource(frame[["a"]], frame["label"]), "y")
    assert labels.tolist() == ["no", "yes"] * 25


def test_sums_are_the_same_for_every_scheduler(rng) -> None:
    X = da.from_array(rng.normal(size=(1000, 3)) * 10.0 ** rng.integers(-8, 8, (1000, 1)), 13)
    source = DaskSource(X)
    sums = [_sum(source, name) for name in ("synchronous", "threads", "threads")]
    np.testing.assert_array_equal(sums[0], sums[1])
    np.testing.assert_array_equal(sums[0], sums[2])
    np.testing.assert_allclose(sums[0], X.sum(axis=0).compute())


def _sum(source, scheduler):
    with dask.config.set(scheduler=scheduler, num_workers=4):
        return source.reduce(lambda block: block.X.sum(axis=0), np.add)


@pytest.mark.parametrize("n", [1, 2, 8, 9, 64, 65])
def test_merged_in_order(n) -> None:
    source = DaskSource(da.arange(n, chunks=1)[:, None])
    found = source.reduce(lambda block: str(int(block.X[0, 0])), partial(_joined, ","))
    assert found == ",".join(map(str, range(n)))


def _joined(between, left, right):
    return left + between + right


def _cut(values, *places):
    return da.from_array(np.asarray(values), chunks=(places,))


@pytest.mark.parametrize(
    ("X", "given", "says"),
    [
        (da.ones((9, 2)), {"y": da.ones(8)}, "y has 8 rows and X has 9"),
        (da.ones((9, 2)), {"weight": np.ones(8)}, "sample_weight has 8 rows and X has 9"),
        (da.ones(9), {}, "must have rows and columns; got a Dask Array of 1"),
        (dask.delayed(1), {}, "X must be a Dask array, series or data frame; got Delayed"),
        (np.ones((9, 2)), {}, "X must be a Dask array, series or data frame; got ndarray"),
        (da.ones((9, 2)), {"y": dask.delayed(1)}, "y must be a Dask array"),
    ],
)
def test_what_does_not_fit_is_refused_by_name(X, given, says) -> None:
    with pytest.raises(ValueError, match=says):
        DaskSource(X, given.get("y"), weight=given.get("weight"))


def test_frames_that_do_not_fit_are_refused_by_name(table) -> None:
    frame = dd.from_pandas(table, npartitions=4)
    unknown = frame.clear_divisions()[["a", "b"]]
    with pytest.raises(ValueError, match=r"y has 3 partitions and X has 4"):
        DaskSource(unknown, dd.from_pandas(table["y"], npartitions=3).clear_divisions())
    with pytest.raises(ValueError, match=r"y is in memory \(Series\)"):
        DaskSource(unknown, table["y"])
    shifted = dd.from_pandas(table["y"].set_axis(table.index + 5), npartitions=3)
    with pytest.raises(ValueError, match=r"y has divisions from 5 to 54 and X from 0 to 49"):
        DaskSource(frame[["a", "b"]], shifted)
    named = dd.from_pandas(table.assign(a="x"), npartitions=2)
    with pytest.raises(ValueError, match=r"the columns \['a'\] hold str"):
        DaskSource(named[["a", "b"]])


def test_partitions_of_other_lengths_are_named_when_they_are_seen(table) -> None:
    frame = dd.from_pandas(table, npartitions=4).clear_divisions()
    y = _cut(table["y"], 13, 13, 13, 11)
    source = DaskSource(frame[["a", "b"]], y, weight=frame["w"])
    with pytest.raises(ValueError, match=r"Partition [23]: y has 1[13] rows and X has 12"):
        _blocks(source)


def test_no_rows_at_all(table) -> None:
    frame = dd.from_pandas(table, npartitions=3)
    source = DaskSource(frame[frame.a > 100][["a", "b"]])
    with pytest.raises(ValueError, match="X has no rows in any of its 3 partitions"):
        _blocks(source)
