"""Reading a table from a CSV or Parquet file, with errors that say what to do."""

from __future__ import annotations

import csv
import io
import warnings
from collections.abc import Iterable
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

MISSING = ["", "NA", "N/A", "NaN", "nan", "NULL", "null", "None", "none", "?", ".", "#N/A"]
DELIMITERS = (",", ";", "\t", "|")
SAMPLE_BYTES = 1 << 16
# What a file is when it is no table, by its first bytes.
FOREIGN = {
    b"PK\x03\x04": "an Excel workbook or a zip archive; save the sheet as CSV",
    b"\x1f\x8b": "a gzip archive; unpack it first",
    b"\x89PNG": "a picture",
    b"%PDF": "a PDF document",
    b"\x28\xb5\x2f\xfd": "a zstandard archive; unpack it first",
}


class TableError(ValueError):
    """A table that cannot be used as asked; the message is one clear line."""


def read_table(path: str | Path, *, least_columns: int = 2) -> tuple[pd.DataFrame, list[str]]:
    """Read a CSV or Parquet file.

    The kind is told by the content, not by the name. For CSV the delimiter (comma, semicolon,
    tab or bar), the encoding (UTF-8 with or without a byte order mark, UTF-16 with one, else
    Latin-1) and a decimal comma in semicolon files are found by themselves.

    Parameters
    ----------
    path : str or Path
        The file.
    least_columns : int, default=2
        Fewer are an error.

    Returns
    -------
    table : DataFrame
        The columns as they are; text stays text.
    notes : list of str
        What was found or changed.

    Raises
    ------
    TableError
        If the file is missing, unreadable, empty or no table.
    """
    path = Path(path)
    if not path.exists():
        raise TableError(f"there is no file {str(path)!r}{_near_file(path)}")
    if path.is_dir():
        raise TableError(f"{str(path)!r} is a folder; name a CSV or Parquet file in it")
    try:
        with path.open("rb") as stream:
            head = stream.read(SAMPLE_BYTES)
    except OSError as error:
        raise TableError(f"cannot read {str(path)!r}: {error.strerror or error}") from None
    if head[:4] == b"PAR1":
        return _checked(_read_parquet(path), path, least_columns), []
    for magic, what in FOREIGN.items():
        if head.startswith(magic):
            raise TableError(f"{str(path)!r} is no table: it is {what}")
    if not head.strip():
        raise TableError(f"{str(path)!r} is empty")
    table, notes = _read_csv(path, head)
    return _checked(table, path, least_columns), notes


def _near_file(path: Path) -> str:
    try:
        names = [entry.name for entry in path.parent.iterdir() if entry.is_file()]
    except OSError:
        return ""
    return did_you_mean(path.name, names)


def did_you_mean(name: str, known: Iterable[Any]) -> str:
    """'; did you mean ...?' with the nearest known names, or nothing."""
    table = {str(entry).casefold(): str(entry) for entry in known}
    near = get_close_matches(name.casefold(), table, n=2, cutoff=0.6)
    return f"; did you mean {' or '.join(repr(table[entry]) for entry in near)}?" if near else ""


def _read_parquet(path: Path) -> pd.DataFrame:
    try:
        table = pd.read_parquet(path)
    except Exception as error:  # pyarrow raises its own kinds for a damaged file
        text = " ".join(str(error).split())[:160]
        raise TableError(f"{str(path)!r} is a damaged Parquet file: {text}") from None
    if not isinstance(table.index, pd.RangeIndex):
        table = table.reset_index(drop=all(name is None for name in table.index.names))
    table.columns = [str(name) for name in table.columns]
    _check_header(list(table.columns))
    return table


def _read_csv(path: Path, head: bytes) -> tuple[pd.DataFrame, list[str]]:
    encoding, notes = _encoding(path, head)
    text = head.decode(encoding, errors="replace")
    if "\x00" in text:
        raise TableError(f"{str(path)!r} is no text table: it contains zero bytes")
    delimiter = _delimiter(text)
    _check_widths(path, encoding, delimiter)
    options: dict[str, Any] = {
        "sep": delimiter, "encoding": encoding, "keep_default_na": False, "na_values": MISSING,
        "skipinitialspace": True, "low_memory": False, "index_col": False,
    }  # fmt: skip
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", pd.errors.ParserWarning)
            table = pd.read_csv(path, **options)
            if delimiter == ";" and _decimal_commas(table):
                table = pd.read_csv(path, **options, decimal=",")
                notes.append("Numbers were read with a decimal comma.")
    except (pd.errors.ParserError, pd.errors.EmptyDataError, pd.errors.ParserWarning) as error:
        text = " ".join(str(error).split())
        raise TableError(f"{str(path)!r} is no table that can be read: {text}") from None
    if delimiter != ",":
        notes.append(f"Columns are separated by {_delimiter_name(delimiter)}.")
    table, name_notes = _clean_names(table)
    return table, notes + name_notes


def _encoding(path: Path, head: bytes) -> tuple[str, list[str]]:
    if head.startswith((b"\xff\xfe", b"\xfe\xff")):
        return "utf-16", ["The file is encoded in UTF-16."]
    try:
        with path.open(encoding="utf-8-sig") as stream:
            for _ in iter(lambda: stream.read(SAMPLE_BYTES), ""):
                pass
    except UnicodeDecodeError:
        return "latin-1", ["The file is not valid UTF-8 and was read as Latin-1."]
    return "utf-8-sig", []


def _delimiter(text: str) -> str:
    """The delimiter that splits the first lines into the same number (> 1) of fields."""
    lines = text.splitlines()[:50]
    if len(text) >= SAMPLE_BYTES // 4 and len(lines) > 2:
        lines = lines[:-1]
    sample = "\n".join(lines)
    best, best_key = ",", (0.0, 0)
    for mark in DELIMITERS:
        try:
            widths = [len(row) for row in csv.reader(io.StringIO(sample), delimiter=mark) if row]
        except csv.Error:
            continue
        if not widths or widths[0] < 2:
            continue
        key = (sum(width == widths[0] for width in widths) / len(widths), widths[0])
        if key > best_key:
            best, best_key = mark, key
    return best


def _delimiter_name(mark: str) -> str:
    return {";": "semicolons", "\t": "tabs", "|": "vertical bars"}.get(mark, repr(mark))


def _check_widths(path: Path, encoding: str, delimiter: str) -> None:
    """A line with more fields than the header shifts columns silently: refuse it."""
    with path.open(encoding=encoding, newline="") as stream:
        try:
            rows = csv.reader(stream, delimiter=delimiter, skipinitialspace=True)
            header = next(rows, [])
            _check_header([name.strip() for name in header])
            for row in rows:
                if len(row) > len(header) and any(field.strip() for field in row[len(header) :]):
                    raise TableError(
                        f"line {rows.line_num} of {str(path)!r} has {len(row)} fields, "
                        f"but the header has {len(header)}"
                    )
        except csv.Error as error:
            raise TableError(f"{str(path)!r} is no table that can be read: {error}") from None


def _check_header(names: list[str]) -> None:
    """A repeated name would be renamed silently: refuse it."""
    repeated = [name for name in names if name and names.count(name) > 1]
    if repeated:
        raise TableError(f"two columns are named {repeated[0]!r}; rename one of them")


def _decimal_commas(table: pd.DataFrame) -> bool:
    """Whether some text column holds nothing but numbers with a decimal comma."""
    for name in table.columns:
        column = table[name].dropna()
        if pd.api.types.is_numeric_dtype(column) or not len(column):
            continue
        if column.astype(str).str.fullmatch(r"[-+]?\d+(,\d+)?([eE][-+]?\d+)?").all():
            return True
    return False


def _clean_names(table: pd.DataFrame) -> tuple[pd.DataFrame, list[str]]:
    """Names without surrounding blanks; columns without a name or a value are left out."""
    notes = []
    table = table.rename(columns={name: str(name).strip() for name in table.columns})
    nameless = [n for n in table.columns if n.startswith("Unnamed: ") and table[n].isna().all()]
    if nameless:
        table = table.drop(columns=nameless)
        notes.append("Columns without a name and without values were left out.")
    return table, notes


def _checked(table: pd.DataFrame, path: Path, least_columns: int) -> pd.DataFrame:
    if table.shape[1] < least_columns:
        names = ", ".join(repr(name) for name in table.columns)
        raise TableError(
            f"{str(path)!r} has only one column ({names}); a target and at least one other are "
            "needed"
            if table.shape[1]
            else f"{str(path)!r} has no columns"
        )
    return table.reset_index(drop=True)


def column_of(table: pd.DataFrame, name: str, role: str) -> pd.Series[Any]:
    """A column by name, or an error with the nearest names."""
    if name not in table.columns:
        near = did_you_mean(name, table.columns) or f"; it has {_listing(table.columns)}"
        raise TableError(f"the table has no column {name!r} for the {role}{near}")
    return table[name]


def _listing(names: Iterable[Any], limit: int = 8) -> str:
    names = [repr(str(name)) for name in names]
    return ", ".join(names[:limit]) + (f" and {len(names) - limit} more" * (len(names) > limit))


def numbers(
    column: pd.Series[Any], role: str, *, missing: bool = False
) -> np.ndarray[Any, np.dtype[np.float64]]:
    """A column as floats; the first cell that is no finite number is named.

    Parameters
    ----------
    column : Series
        The column.
    role : str
        What it is for, in the message.
    missing : bool, default=False
        Whether missing cells are allowed (they become NaN).

    Raises
    ------
    TableError
        With the column, the row (counted from 1, without the header) and the value.
    """
    values = pd.to_numeric(column, errors="coerce").to_numpy(dtype=float, na_value=np.nan)
    lost = np.isnan(values) & column.notna().to_numpy()
    if lost.any():
        row = first_row(column, lost)
        raise TableError(
            f"column {column.name!r} ({role}) must be numeric, but row {row + 1} has "
            f"{short(column.loc[row])}"
        )
    if np.isinf(values).any():
        row = first_row(column, np.isinf(values))
        raise TableError(f"column {column.name!r} ({role}) is infinite in row {row + 1}")
    if not missing and np.isnan(values).any():
        row = first_row(column, np.isnan(values))
        raise TableError(f"column {column.name!r} ({role}) is missing in row {row + 1}")
    return values


def first_row(column: pd.Series[Any], where: Any) -> int:
    """Number, from 0, of the first marked row in the table as it was read."""
    return int(column.index[int(np.flatnonzero(np.asarray(where))[0])])


def short(value: Any, limit: int = 40) -> str:
    """A cell in a message: quoted, on one line, not too long."""
    text = repr(str(value))
    return text if len(text) <= limit else text[: limit - 4] + "...'"
