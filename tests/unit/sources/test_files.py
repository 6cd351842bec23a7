"""Parquet and Arrow files as blocks: columns, types, parts, and errors that name the place."""

from __future__ import annotations

from decimal import Decimal

import numpy as np
import pyarrow as pa
import pyarrow.feather as feather
import pyarrow.parquet as pq
import pytest
from numpy.testing import assert_array_equal

from mixexp import FileDataset


def table(n=10, seed=0, **more):
    rng = np.random.default_rng(seed)
    columns = {"a": rng.normal(size=n), "b": rng.integers(0, 9, n), "y": rng.normal(size=n)}
    return pa.table(columns | more)


def held(dataset):
    """X and y of all blocks, and their places."""
    blocks = list(dataset.blocks())
    X, y = (np.concatenate([block[i] for block in blocks]) for i in (0, 1))
    return X, y, [block.place for block in blocks]


def test_columns_go_to_their_roles(tmp_path):
    path = tmp_path / "rows.parquet"
    whole = table(weight=np.arange(10.0), time=np.ones(10))
    pq.write_table(whole, path, row_group_size=4)
    dataset = FileDataset(path, target="y", features=["b", "a"], weight="weight", offset="time")
    (block,) = dataset.blocks()
    assert_array_equal(block.X, np.column_stack([whole["b"], whole["a"]]))
    assert_array_equal(block.weight, np.arange(10.0))
    assert (dataset.row_inputs, dataset.n_outputs) == (("weight", "offset"), 0)
    others = FileDataset(path, target=["y", "time"])
    assert others.feature_names == ["a", "b", "weight"] and others.n_outputs == 2
    assert next(others.blocks()).y.shape == (10, 2)


def test_numbers_of_all_kinds_become_floats(tmp_path):
    path = tmp_path / "rows.parquet"
    columns = {
        "decimal": pa.array([Decimal("1.25"), Decimal("-2.50")], pa.decimal128(6, 2)),
        "flag": pa.array([True, False]),
        "small": pa.array([3, -4], pa.int8()),
        "single": pa.array([0.5, 0.25], pa.float32()),
    }
    pq.write_table(pa.table(columns | {"y": pa.array(["u", "v"]).dictionary_encode()}), path)
    X, y, _ = held(FileDataset(path, target="y"))
    assert X.dtype == np.float64
    assert_array_equal(X, [[1.25, 1, 3, 0.5], [-2.5, 0, -4, 0.25]])
    assert y.tolist() == ["u", "v"]
    single = FileDataset(path, target="y", features=["single"])
    assert next(single.blocks()).X.dtype == np.float32


def test_row_groups_are_joined_and_divided(tmp_path):
    path = tmp_path / "rows.parquet"
    whole = table(1000)
    pq.write_table(whole, path, row_group_size=300)
    X, y, places = held(FileDataset(path, target="y", block_rows=200))
    assert_array_equal(y, whole["y"])
    assert_array_equal(X[:, 0], whole["a"])
    assert places[:3] == [f"{path}, row group {group}" for group in (0, 0, 1)]
    sizes = [len(block.X) for block in FileDataset(path, target="y", block_rows=700).blocks()]
    assert sizes == [600, 400]
    (block,) = FileDataset(path, target="y").blocks()
    assert len(block.X) == 1000
    assert block.place_of(650) == f"{path}, row group 2, row 50 of it"


def test_folders_and_arrow_files(tmp_path):
    first, second = table(7, 1), table(5, 2)
    (tmp_path / "b").mkdir()
    pq.write_table(first, tmp_path / "a.parquet")
    feather.write_feather(second, tmp_path / "b" / "b.feather", chunksize=2)
    (tmp_path / "_metadata.parquet").write_text("none of the data")
    (tmp_path / "notes.txt").write_text("none of the data")
    dataset = FileDataset(tmp_path, target="y")
    assert [file.name for file in dataset.files] == ["a.parquet", "b.feather"]
    assert repr(dataset) == "FileDataset(2 files: 2 features, target ['y'])"
    _, y, _ = held(dataset)
    assert_array_equal(y, np.concatenate([first["y"], second["y"]]))
    both = FileDataset([tmp_path / "b" / "b.feather", tmp_path / "a.parquet"], target="y")
    assert_array_equal(held(both)[1], np.concatenate([second["y"], first["y"]]))


def test_what_cannot_be_used_is_said(tmp_path):
    path = tmp_path / "rows.parquet"
    pq.write_table(table(city=pa.array(["x"] * 10)), path)
    with pytest.raises(ValueError, match=r"row group 0: no column \['target'\]"):
        FileDataset(path, target="target")
    with pytest.raises(ValueError, match=r"must be numbers; got the columns {'city': 'string'}"):
        FileDataset(path, target="y")
    with pytest.raises(ValueError, match=r"not target.*got \['y'\]"):
        FileDataset(path, target="y", features=["a", "y"])
    with pytest.raises(ValueError, match="no such file"):
        FileDataset(tmp_path / "none.parquet", target="y")
    with pytest.raises(ValueError, match=r"For a pattern give glob.glob"):
        FileDataset(tmp_path / "*.parquet", target="y")
    with pytest.raises(ValueError, match=r"must end in one of .parquet.* Write it as one"):
        (tmp_path / "rows.csv").write_text("a,b")
        FileDataset(tmp_path / "rows.csv", target="y")
    with pytest.raises(ValueError, match="block_rows must be an integer >= 1"):
        FileDataset(path, target="y", features=["a"], block_rows=0)


def test_a_column_that_vanishes_is_named_with_its_file(tmp_path):
    for i in range(3):
        part = table(4, i)
        pq.write_table(part if i < 2 else part.drop_columns("b"), tmp_path / f"part-{i}.parquet")
    with pytest.raises(ValueError, match=r"part-2.parquet, row group 0: no column \['b'\]"):
        FileDataset(tmp_path, target="y")


def test_a_column_that_vanishes_while_the_files_are_read(tmp_path):
    for i in range(3):
        pq.write_table(table(4, i), tmp_path / f"part-{i}.parquet")
    dataset = FileDataset(tmp_path, target="y")
    pq.write_table(table(4).drop_columns("b"), tmp_path / "part-2.parquet")
    with pytest.raises(ValueError, match=r"part-2.parquet, row group 0: no column \['b'\]"):
        list(dataset.blocks())


def test_missing_values_are_named_with_their_row_group(tmp_path):
    path = tmp_path / "rows.parquet"
    values = [*range(9), None]
    pq.write_table(table(b=pa.array(values)), path, row_group_size=4)
    with pytest.raises(ValueError, match="row group 2: column 'b' has no value in row 1 of it"):
        list(FileDataset(path, target="y").blocks())


@pytest.mark.parametrize("write", ["parquet", "arrow"])
def test_rows_are_counted_from_the_beginning_of_their_row_group(write, tmp_path):
    path = tmp_path / f"rows.{write}"
    whole = table(900)
    if write == "parquet":
        pq.write_table(whole, path, row_group_size=500)
    else:
        feather.write_feather(whole, path, chunksize=500)
    group = "row group" if write == "parquet" else "record batch"
    blocks = list(FileDataset(path, target="y", block_rows=150).blocks())
    assert sum(len(block.X) for block in blocks) == 900
    y = whole["y"].to_numpy()
    for block in blocks:
        for row in (0, len(block.X) - 1):
            place = int(np.flatnonzero(y == block.y[row])[0])
            said = f"{path}, {group} {place // 500}, row {place % 500} of it"
            assert block.place_of(row) == said


def test_a_missing_value_deep_in_a_row_group_is_named_by_its_row(tmp_path):
    path = tmp_path / "rows.parquet"
    values = np.arange(1000.0)
    pq.write_table(table(1000, b=pa.array(values, mask=values == 730)), path)
    with pytest.raises(ValueError, match="column 'b' has no value in row 730 of it"):
        list(FileDataset(path, target="y", block_rows=100).blocks())


def test_hidden_folders_hold_no_data(tmp_path):
    hidden_above = tmp_path / ".data"
    names = ["a.parquet", "part/b.parquet", ".ipynb_checkpoints/a-checkpoint.parquet"]
    names += ["_old/b.parquet", "part/_old/deep/b.parquet"]
    for name in names:
        (hidden_above / name).parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(table(), hidden_above / name)
    dataset = FileDataset(hidden_above, target="y")
    assert [str(file.relative_to(hidden_above)) for file in dataset.files] == names[:2]


def test_damage_is_named_with_its_row_group(tmp_path):
    path = tmp_path / "rows.parquet"
    pq.write_table(table(3000), path, row_group_size=1000, compression="zstd")
    place = pq.ParquetFile(path).metadata.row_group(1).column(0)
    data = bytearray(path.read_bytes())
    start = place.dictionary_page_offset or place.data_page_offset
    data[start : start + 64] = bytes(64)
    path.write_bytes(bytes(data))
    with pytest.raises(ValueError, match=r"rows.parquet, row group 1: it cannot be read"):
        list(FileDataset(path, target="y").blocks())
    path.write_bytes(bytes(data[:-20]))  # without its footer
    with pytest.raises(ValueError, match=r"rows.parquet cannot be read as a parquet file"):
        FileDataset(path, target="y")


def test_checksums_find_a_changed_number(tmp_path):
    path = tmp_path / "rows.parquet"
    options = {"compression": "none", "use_dictionary": False, "write_page_checksum": True}
    pq.write_table(table(500), path, row_group_size=100, **options)
    place = pq.ParquetFile(path).metadata.row_group(3).column(0)
    data = bytearray(path.read_bytes())
    data[place.data_page_offset + place.total_compressed_size - 5] ^= 1
    path.write_bytes(bytes(data))
    with pytest.raises(ValueError, match=r"row group 3: it cannot be read"):
        list(FileDataset(path, target="y").blocks())
