"""Files that users name: what is written over, what is a feature, and where a value is missing."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.feather as feather
import pyarrow.parquet as pq
import pytest
from numpy.testing import assert_allclose

from mixexp import FileDataset, MoEClassifier, MoERegressor


@pytest.fixture(scope="module")
def frame():
    rng = np.random.default_rng(0)
    rows = pd.DataFrame(rng.normal(size=(60, 2)), columns=["a", "b"])
    return rows.assign(y=rows["a"] + 0.1 * rng.normal(size=60))


@pytest.fixture(scope="module")
def model(frame):
    return MoERegressor(1).fit(frame[["a", "b"]], frame["y"])


def contents(folder):
    return {file: file.read_bytes() for file in folder.rglob("*") if file.is_file()}


def test_sources_are_not_written_over(frame, model, tmp_path, monkeypatch):
    rows = tmp_path / "rows"
    (rows / "part").mkdir(parents=True)
    file = rows / "part" / "rows.parquet"
    frame.to_parquet(file)
    (tmp_path / "link.parquet").symlink_to(file)
    (tmp_path / "hard.parquet").hardlink_to(file)
    (tmp_path / "other").symlink_to(rows)
    (rows / "outwards.parquet").symlink_to(tmp_path / "new.parquet")
    before = contents(tmp_path)
    monkeypatch.chdir(tmp_path)
    single = FileDataset(file, target="y")
    for path in (file, str(file), "rows/part/rows.parquet", "link.parquet", "hard.parquet"):
        with pytest.raises(ValueError, match="one of the dataset's files, .* Write elsewhere"):
            model.predict_to(single, path)
    for given in ([rows / "part"], "other/part"):
        with pytest.raises(ValueError, match="lies in its folder"):
            model.predict_to(FileDataset(given, target="y"), rows / "part" / "new.parquet")
    (rows / "outwards.parquet").unlink()
    folder = FileDataset(rows, target="y")
    (rows / "outwards.parquet").symlink_to(tmp_path / "new.parquet")
    for path in ("rows/new.parquet", "other/part/new.parquet", "rows/outwards.parquet"):
        with pytest.raises(ValueError, match="lies in its folder"):
            model.predict_to(folder, path)
    assert contents(tmp_path) == before


def test_paths_that_are_no_parquet_file_are_refused(frame, model, tmp_path):
    frame.to_parquet(tmp_path / "rows.parquet")
    (tmp_path / "out.parquet").mkdir()
    dataset = FileDataset(tmp_path / "rows.parquet", target="y")
    cases = {
        "x.csv": r"got the suffix '\.csv'\. The name must end in \.parquet",
        "x": "got the suffix ''",
        "adir/": "is a folder. Name a file in it",
        "out.parquet": "is a folder",
        "none/x.parquet": "the folder does not exist",
    }
    for path, said in cases.items():
        with pytest.raises(ValueError, match=said):
            model.predict_to(dataset, f"{tmp_path}/{path}")
    assert sorted(one.name for one in tmp_path.iterdir()) == ["out.parquet", "rows.parquet"]


def test_a_link_stays_and_an_interrupted_run_leaves_the_old_file(
    frame, model, tmp_path, monkeypatch
):
    frame.to_parquet(tmp_path / "rows.parquet")
    (tmp_path / "far").mkdir()
    link = tmp_path / "out.parquet"
    link.symlink_to(tmp_path / "far" / "real.parquet")
    dataset = FileDataset(tmp_path / "rows.parquet", target="y", block_rows=20)
    model.predict_to(dataset, link)
    assert link.is_symlink()
    expected = model.predict(frame[["a", "b"]])
    assert_allclose(pq.read_table(link)["predict"], expected, rtol=1e-12)
    before = contents(tmp_path)

    def stopped(self, dataset, method):
        yield np.zeros(20)
        raise KeyboardInterrupt

    monkeypatch.setattr(MoERegressor, "predict_blocks", stopped)
    with pytest.raises(KeyboardInterrupt):
        model.predict_to(dataset, link)
    assert contents(tmp_path) == before


@pytest.mark.parametrize("name", [None, "site"])
@pytest.mark.parametrize("suffix", ["parquet", "feather"])
def test_an_index_of_pandas_is_no_feature(name, suffix, frame, tmp_path):
    path = tmp_path / f"rows.{suffix}"
    indexed = frame.set_index(pd.Index(np.arange(60) * 2 % 7, name=name))
    if suffix == "parquet":
        indexed.to_parquet(path)
    else:
        feather.write_feather(pa.Table.from_pandas(indexed), path)
    assert FileDataset(path, target="y").feature_names == ["a", "b"]
    named = ["a", name or "__index_level_0__"]
    dataset = FileDataset(path, target="y", features=named)
    (block,) = dataset.blocks()
    assert_allclose(block.X[:, 1], indexed.index)


def test_missing_values_in_predictions_are_named(frame, model, tmp_path):
    path = tmp_path / "rows.parquet"

    def written(column, value):
        table = pa.table({name: frame[name].to_numpy().copy() for name in frame})
        values = table[column].to_numpy().copy()
        values[37] = value
        at = table.column_names.index(column)
        pq.write_table(table.set_column(at, column, pa.array(values)), path, row_group_size=30)
        return FileDataset(path, target="y")

    dataset = written("b", np.nan)
    for run in (
        lambda: list(model.predict_blocks(dataset)),
        lambda: model.predict_to(dataset, tmp_path / "out.parquet"),
    ):
        with pytest.raises(
            ValueError, match=r"^\S*rows.parquet, row group 1, row 7 of it: column 'b' holds nan"
        ):
            run()
    dataset = written("y", np.inf)
    assert len(next(model.predict_blocks(dataset))) == 60
    with pytest.raises(ValueError, match=r"^\S*rows.parquet, row group 1, row 7 of it: y is inf"):
        list(model.predict_blocks(dataset, "log_prob"))
    assert not (tmp_path / "out.parquet").exists()


@pytest.mark.parametrize("path", ["folder", Path("folder")])
def test_paths_as_rows_come_with_the_next_step(path, model, frame):
    for estimator in (MoERegressor(2), MoERegressor(2, engine="stream"), MoEClassifier(2)):
        with pytest.raises(ValueError, match=r"Give FileDataset\('folder', target=\.\.\.\)"):
            estimator.fit(path)
    with pytest.raises(ValueError, match=r"got the path 'folder'.*predict_blocks\(FileDataset"):
        model.predict(path)
