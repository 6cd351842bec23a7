"""`TablePreprocessor`: raw columns to the numeric columns of a model, as plain data."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
from sklearn.impute import SimpleImputer
from sklearn.preprocessing import OneHotEncoder

from mixexp.tables.reading import TableError, did_you_mean, first_row, numbers, short

MAX_LEVELS = 20
MISSING_LEVEL = "missing"
OTHER_LEVEL = "other"
IDENTIFIER_NAMES = {"id", "index", "row", "rowid", "rownames", "row.names", "uuid", "key", "nr"}
# "policy_id", "Policy no.", "PolicyNo"; but not "NO" alone, which is a gas.
NUMBERED = re.compile(r"[^\W_][\s_.-]+(?i:id|no|nr|number)\.?$|[a-z](Id|ID|No|Nr|Number)$")
ISO_DATE = r"\d{4}-\d{1,2}-\d{1,2}([ T]\d{1,2}:\d{2}(:\d{2}(\.\d+)?)?Z?)?"


@dataclass(frozen=True)
class Column:
    """How one raw column enters the model.

    Attributes
    ----------
    name : str
        Raw name.
    kind : {"numeric", "date", "categorical"}
        Dates become years with a fraction.
    fill : float
        Value for missing cells (the median); numeric and date columns.
    indicator : bool
        Whether a column that marks missing cells is added.
    levels : tuple of str
        Categories kept, in order; the first has no column (the reference). ``"missing"`` and
        ``"other"`` (rare categories together) may be among them.
    """

    name: str
    kind: str
    fill: float = 0.0
    indicator: bool = False
    levels: tuple[str, ...] = ()

    @property
    def outputs(self) -> list[str]:
        """Names of the model's columns that come from this one."""
        if self.kind == "categorical":
            return [f"{self.name}={level}" for level in self.levels[1:]]
        return [self.name] + ([f"{self.name} missing"] if self.indicator else [])


@dataclass(frozen=True)
class TablePreprocessor:
    """A table to a numeric frame: median imputation with indicators, and dummy columns.

    It learns with scikit-learn's ``SimpleImputer(strategy="median")`` and
    ``OneHotEncoder(drop="first", min_frequency=..., max_categories=20,
    handle_unknown="infrequent_if_exist")`` and keeps what they learned as plain values, so that
    it can be stored without pickle.

    Attributes
    ----------
    columns : tuple of Column
        The columns used, in the order of the table.
    notes : tuple of str
        What was done and left out, for the reader.
    """

    columns: tuple[Column, ...]
    notes: tuple[str, ...] = field(default=(), compare=False)

    @classmethod
    def learn(
        cls, table: pd.DataFrame, categorical: Sequence[str] = (), keep: Sequence[str] = ()
    ) -> TablePreprocessor:
        """Decide how every column of a training table enters the model.

        Parameters
        ----------
        table : DataFrame
            Candidate columns only (no target, no weights).
        categorical : sequence of str
            Columns to treat as categories although they look numeric.
        keep : sequence of str
            Columns to keep although they look like identifiers.

        Raises
        ------
        TableError
            If a numeric column contains a stray text, or no column is left.
        """
        notes: list[str] = []
        columns = []
        for name in table.columns:
            column = _learn_column(table[name], name in categorical, name in keep, notes)
            if column is not None:
                columns.append(column)
        if not columns:
            raise TableError("no usable column is left beside the target: " + " ".join(notes))
        return cls(tuple(columns), tuple(notes))

    @property
    def feature_names(self) -> list[str]:
        """Names of the model's columns."""
        return [name for column in self.columns for name in column.outputs]

    def outputs_of(self, names: Sequence[str]) -> list[str]:
        """The model's columns that come from some raw columns, in the model's order."""
        known = {column.name: column for column in self.columns}
        for name in names:
            if name not in known:
                near = did_you_mean(name, known) or f"; used are {', '.join(map(repr, known))}"
                raise TableError(f"column {name!r} is not among the model's columns{near}")
        return [out for column in self.columns if column.name in names for out in column.outputs]

    def transform(self, table: pd.DataFrame) -> pd.DataFrame:
        """The model's columns of a table.

        A category not seen in training counts as "other" where rare categories were grouped,
        else as the reference category; `unseen` tells which.

        Raises
        ------
        TableError
            If a column is absent or holds a text where a number belongs.
        """
        parts: dict[str, Any] = {}
        for column in self.columns:
            if column.name not in table.columns:
                near = did_you_mean(column.name, table.columns)
                raise TableError(
                    f"the table has no column {column.name!r}, which the model needs{near}"
                )
            parts.update(zip(column.outputs, _encode(table[column.name], column), strict=True))
        return pd.DataFrame(parts, columns=self.feature_names, dtype=np.float64)

    def unseen(self, table: pd.DataFrame) -> list[str]:
        """One sentence for each categorical column with categories that training never saw."""
        notes = []
        for column in self.columns:
            if column.kind != "categorical" or OTHER_LEVEL in column.levels:
                continue
            found = sorted(set(as_text(table[column.name]).unique()) - set(column.levels))
            if found:
                notes.append(
                    f"column {column.name!r}: unknown categories {', '.join(found[:5])} were "
                    f"treated as {column.levels[0]!r}"
                )
        return notes

    def to_tree(self) -> dict[str, Any]:
        """Plain values for the model file."""
        return {
            "columns": [
                {
                    "name": c.name, "kind": c.kind, "fill": float(c.fill),
                    "indicator": bool(c.indicator), "levels": list(c.levels),
                }
                for c in self.columns
            ],
            "notes": list(self.notes),
        }  # fmt: skip

    @classmethod
    def from_tree(cls, tree: Mapping[str, Any]) -> TablePreprocessor:
        """The preprocessor that `to_tree` described."""
        columns = tuple(
            Column(
                str(c["name"]), str(c["kind"]), float(c["fill"]), bool(c["indicator"]),
                tuple(str(level) for level in c["levels"]),
            )
            for c in tree["columns"]
        )  # fmt: skip
        return cls(columns, tuple(str(note) for note in tree["notes"]))


def as_text(column: pd.Series[Any]) -> pd.Series[Any]:
    """Categories as text; missing cells are the category "missing", 3.0 is "3"."""
    if pd.api.types.is_float_dtype(column):
        text = column.map(lambda v: f"{v:.15g}", na_action="ignore")
    else:
        text = column.map(lambda v: str(v).strip(), na_action="ignore")
    return text.astype(object).where(column.notna(), MISSING_LEVEL)


def as_years(column: pd.Series[Any]) -> pd.Series[Any]:
    """Dates as years with a fraction."""
    dates = pd.to_datetime(column, errors="coerce", utc=True, format=None)
    bad = dates.isna() & column.notna()
    if bad.any():
        row = first_row(column, bad)
        raise TableError(
            f"column {column.name!r} holds dates, but row {row + 1} has {short(column.loc[row])}"
        )
    days = (dates - pd.Timestamp("1970-01-01", tz="UTC")) / pd.Timedelta(days=1)
    return 1970.0 + days / 365.2425


def _encode(raw: pd.Series[Any], column: Column) -> list[Any]:
    if column.kind == "categorical":
        text = as_text(raw)
        if OTHER_LEVEL in column.levels:
            text = text.where(text.isin(column.levels), OTHER_LEVEL)
        return [(text == level).to_numpy(dtype=float) for level in column.levels[1:]]
    source = as_years(raw) if column.kind == "date" else raw
    values = numbers(source, "used as a number", missing=True)
    absent = np.isnan(values)
    filled = np.where(absent, column.fill, values)
    return [filled] + ([absent.astype(float)] if column.indicator else [])


def _learn_column(raw: pd.Series[Any], force: bool, keep: bool, notes: list[str]) -> Column | None:
    """The role of one column, or None where it is left out."""
    name, present = str(raw.name), raw.dropna()
    distinct = present.nunique()
    absent = int(raw.isna().sum())
    if distinct == 0 or (distinct == 1 and absent == 0):
        notes.append(f"Column {name!r} is {'empty' if distinct == 0 else 'constant'}: left out.")
        return None
    kind = "categorical" if force else column_kind(raw)
    reason = None if keep or force else _identifier(present, kind, distinct)
    if reason:
        notes.append(f"Column {name!r} {reason}: left out (--keep {shlex.quote(name)} uses it).")
        return None
    if kind == "categorical":
        return _learn_categorical(raw, absent, notes)
    if kind == "date":
        notes.append(f"Column {name!r} holds dates: used as years with a fraction.")
        raw = as_years(raw)
    values = numbers(raw, "used as a number", missing=True)
    fill = float(SimpleImputer(strategy="median").fit(values[:, None]).statistics_[0])
    if absent:
        notes.append(
            f"Column {name!r}: {absent} missing values were filled with the median {fill:.4g}, and "
            "a column that marks them was added."
        )
    return Column(name, kind, fill=fill, indicator=absent > 0)


def column_kind(raw: pd.Series[Any]) -> str:
    """numeric, date or categorical; a numeric column with a few stray texts is an error."""
    present = raw.dropna()
    if pd.api.types.is_datetime64_any_dtype(present):
        return "date"
    if pd.api.types.is_bool_dtype(present):
        return "categorical"
    if pd.api.types.is_numeric_dtype(present):
        return "numeric"
    text = present.astype(str).str.strip()
    parsed = pd.to_numeric(text, errors="coerce")
    good = parsed.notna()
    if good.all():
        return "numeric"
    if good.mean() >= 0.8 and parsed[good].nunique() > 10:
        row = first_row(present, ~good)
        raise TableError(
            f"column {str(raw.name)!r} looks numeric ({int(good.sum())} of {len(good)} values are "
            f"numbers), but row {row + 1} has {short(raw.loc[row])}; correct it or name the column "
            "in --categorical"
        )
    if text.str.fullmatch(ISO_DATE).all():
        return "date"
    return "categorical"


def _identifier(present: pd.Series[Any], kind: str, distinct: int) -> str | None:
    """Why a column looks like an identifier of the rows, or None."""
    if kind == "categorical":
        if distinct > max(MAX_LEVELS, len(present) // 2):
            return f"has {distinct} different texts in {len(present)} rows, like an identifier"
        return None
    if kind != "numeric" or distinct < len(present) or len(present) < 10:
        return None
    values = pd.to_numeric(present).to_numpy(dtype=float)
    name = str(present.name).casefold()
    whole = np.array_equal(values, np.round(values))
    if whole and (
        name in IDENTIFIER_NAMES or name.startswith("unnamed") or NUMBERED.search(str(present.name))
    ):
        return "is an identifier by its name and its values"
    return None


def _learn_categorical(raw: pd.Series[Any], absent: int, notes: list[str]) -> Column | None:
    """Levels in sorted order, rare ones together at the end; missing cells are a level."""
    name, text = str(raw.name), as_text(raw)
    least = max(1, min(10, len(text) // 100))
    encoder = OneHotEncoder(
        drop="first", min_frequency=least, max_categories=MAX_LEVELS,
        handle_unknown="infrequent_if_exist", dtype=np.float64,
    ).fit(text.to_numpy(dtype=object)[:, None])  # fmt: skip
    found = [str(level) for level in encoder.categories_[0]]
    rare = encoder.infrequent_categories_[0]
    rare = set() if rare is None else {str(level) for level in rare}
    levels = [level for level in found if level not in rare]
    if not levels:
        notes.append(f"Column {name!r}: none of its {len(found)} categories is frequent: left out.")
        return None
    said = f"{len(found)} categories, {levels[0]!r} is the reference"
    if rare:
        levels = [level for level in levels if level != OTHER_LEVEL] + [OTHER_LEVEL]
        said += f"; {len(rare)} rare ones are taken together as {OTHER_LEVEL!r}"
    if absent:
        said += f"; {absent} missing values are a category of their own"
    notes.append(f"Column {name!r}: {said}.")
    return Column(name, "categorical", levels=tuple(levels))
