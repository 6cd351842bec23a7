"""Reading tables and turning them into numeric columns."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_array_equal
from sklearn.compose import ColumnTransformer
from sklearn.impute import SimpleImputer
from sklearn.preprocessing import OneHotEncoder

from mixexp.tables.prepare import Roles, prepare
from mixexp.tables.preprocess import TablePreprocessor, as_text
from mixexp.tables.reading import TableError, read_table

PLAIN = pd.DataFrame({"y": [0.5, 1.5, 2.5, 3.5], "a": [1, 2, 3, 4]})


def lines(*rows: str) -> str:
    return "\n".join(rows) + "\n"


def write(folder: Path, content: str | bytes, encoding: str = "utf-8") -> Path:
    path = folder / "table.csv"
    path.write_bytes(content if isinstance(content, bytes) else content.encode(encoding))
    return path


@pytest.mark.parametrize("mark", [",", ";", "\t", "|"])
def test_delimiters_are_found(tmp_path: Path, mark: str) -> None:
    text = PLAIN.to_csv(index=False, sep=mark)
    pd.testing.assert_frame_equal(read_table(write(tmp_path, text))[0], PLAIN)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "latin-1"])
def test_encodings_are_found(tmp_path: Path, encoding: str) -> None:
    text = lines("höhe,größe", "1,ä", "2,ö", "3,ü")
    table, _ = read_table(write(tmp_path, text, encoding))
    assert list(table.columns) == ["höhe", "größe"]
    assert list(table["größe"]) == ["ä", "ö", "ü"]


def test_decimal_commas_are_found(tmp_path: Path) -> None:
    table, notes = read_table(write(tmp_path, lines("y;a", "0,5;1", "1,5;2")))
    assert list(table["y"]) == [0.5, 1.5]
    assert any("decimal comma" in note for note in notes)


def test_parquet_equals_csv(tmp_path: Path) -> None:
    PLAIN.to_parquet(tmp_path / "t.parquet")
    pd.testing.assert_frame_equal(read_table(tmp_path / "t.parquet")[0], PLAIN)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("", "is empty"),
        (b"\x89PNG\r\n\x1a\n", "a picture"),
        (b"PK\x03\x04abc", "an Excel workbook"),
        (b"a,b\n1,\x00\x00", "zero bytes"),
        ("y\n1\n2\n", "only one column"),
        (lines("y,a", "1,2", "3,4,5"), "line 3 .* has 3 fields"),
        (lines("y,a,a", "1,2,3"), "two columns are named 'a'"),
        (b"PAR1 broken", "damaged Parquet"),
    ],
)
def test_what_is_no_table_is_named(tmp_path: Path, content: str | bytes, says: str) -> None:
    with pytest.raises(TableError, match=says):
        read_table(write(tmp_path, content))


def test_missing_file_suggests_a_neighbour(tmp_path: Path) -> None:
    write(tmp_path, PLAIN.to_csv(index=False))
    with pytest.raises(TableError, match=r"did you mean 'table\.csv'"):
        read_table(tmp_path / "tabel.csv")


SHARES = [0.5, 0.4, 0.09, 0.005, 0.005]


@pytest.fixture
def mixed() -> pd.DataFrame:
    rng = np.random.default_rng(0)
    n = 400
    return pd.DataFrame(
        {
            "number": np.where(rng.uniform(size=n) < 0.1, np.nan, rng.normal(size=n)),
            "kind": rng.choice(["red", "green", None, "rare1", "rare2"], n, p=SHARES),
        }
    )  # fmt: skip


def test_transform_equals_scikit_learn(mixed: pd.DataFrame) -> None:
    found = TablePreprocessor.learn(mixed).transform(mixed)
    text = mixed.assign(kind=as_text(mixed["kind"]))
    peer = ColumnTransformer(
        [
            ("n", SimpleImputer(strategy="median", add_indicator=True), ["number"]),
            (
                "c",
                OneHotEncoder(
                    drop="first", min_frequency=4, max_categories=20, sparse_output=False
                ),
                ["kind"],
            ),
        ]
    )
    assert_array_equal(found.to_numpy(), peer.fit_transform(text))


def test_tree_round_trip(mixed: pd.DataFrame) -> None:
    first = TablePreprocessor.learn(mixed)
    again = TablePreprocessor.from_tree(first.to_tree())
    assert again == first
    pd.testing.assert_frame_equal(again.transform(mixed), first.transform(mixed))


def test_unknown_categories_are_the_reference_and_said() -> None:
    table = pd.DataFrame({"kind": ["a", "b"] * 10})
    learned = TablePreprocessor.learn(table)
    new = pd.DataFrame({"kind": ["a", "z"]})
    assert_array_equal(learned.transform(new)["kind=b"], [0, 0])
    assert "unknown categories z" in learned.unseen(new)[0]


@pytest.mark.parametrize(
    ("name", "left_out"),
    [("PolicyNo", True), ("Policy No.", True), ("probe_id", True), ("NO", False), ("Piano", False)],
)
def test_numbered_rows_are_told_by_their_name(name: str, left_out: bool) -> None:
    table = pd.DataFrame({"x": np.arange(20.0) ** 2, name: np.arange(20) * 3 + 7})
    assert (name not in TablePreprocessor.learn(table).feature_names) == left_out


def test_useless_columns_are_left_out_and_said() -> None:
    n = 30
    table = pd.DataFrame(
        {
            "x": np.arange(n) ** 2.0,
            "same": 1,
            "void": [np.nan] * n,
            "name": [f"row {i}" for i in range(n)],
            "id": np.arange(n) + 7,
        }
    )
    learned = TablePreprocessor.learn(table)
    assert learned.feature_names == ["x"]
    for name in ("same", "void", "name", "id"):
        assert any(repr(name) in note for note in learned.notes)
    assert "id" in TablePreprocessor.learn(table, keep=["id"]).feature_names


def test_dates_become_years() -> None:
    table = pd.DataFrame({"day": [f"{year}-01-01" for year in range(2000, 2020)]})
    years = TablePreprocessor.learn(table).transform(table)["day"]
    assert np.abs(years - np.arange(2000, 2020)).max() < 0.01


def test_junk_is_named_by_column_row_and_value() -> None:
    values = [str(i) for i in range(30)]
    values[16] = "abc"
    with pytest.raises(TableError, match=r"'a' .*row 17 has 'abc'"):
        TablePreprocessor.learn(pd.DataFrame({"a": values}))


def test_row_numbers_are_those_of_the_file() -> None:
    table = pd.DataFrame({"y": [None, *range(29)], "a": [str(i) for i in range(30)]})
    table.loc[20, "a"] = "abc"
    with pytest.raises(TableError, match="row 21"):
        prepare(table, Roles("y"))


RNG = np.random.default_rng(1)
TARGETS = {
    "gaussian": RNG.normal(size=200),
    "poisson": RNG.poisson(4, size=200),
    "multinomial": RNG.choice(["a", "b"], size=200),
    "gaussian gamma": RNG.gamma(0.5, size=200) + 0.01,
    "gaussian far from zero": RNG.integers(400, 500, size=200),
    "multinomial zero one": RNG.integers(0, 2, size=200),
}


@pytest.mark.parametrize("name", sorted(TARGETS))
def test_family_is_chosen_and_said(name: str) -> None:
    table = pd.DataFrame({"y": TARGETS[name], "x": np.linspace(0, 1, 200)})
    found = prepare(table, Roles("y"))
    expected = tuple(
        f for f in name.split() if f in ("gaussian", "gamma", "poisson", "multinomial")
    )
    assert found.families == expected
    assert found.notes[0].startswith("Famil")


def test_rows_without_target_are_dropped_and_said() -> None:
    table = pd.DataFrame({"y": [np.nan, *np.linspace(-1, 1, 20)], "x": np.arange(21) ** 2})
    found = prepare(table, Roles("y"))
    assert len(found.y) == len(found.X) == 20
    assert "1 rows without a target" in found.notes[0]
