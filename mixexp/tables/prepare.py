"""From a raw table and a target to the inputs of a study; every decision is a note."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from mixexp.tables.preprocess import TablePreprocessor, as_text, column_kind
from mixexp.tables.reading import TableError, column_of, numbers

FAMILIES = ("gaussian", "poisson", "gamma", "binomial", "multinomial")
MIN_ROWS = 5
MAX_CLASSES = 50


@dataclass(frozen=True)
class Roles:
    """Which column does what.

    Attributes
    ----------
    target : str
    family : str
        A member of `FAMILIES` or "auto".
    weights, exposure, offset, trials, groups : str or None
        Columns of the row-wise inputs; ``groups`` holds labels of rows that share one expert.
    gate_columns, expert_columns : tuple of str
        Raw columns of each half; empty means all.
    categorical, keep, drop : tuple of str
        Numeric columns to treat as categories, identifier-like ones to keep, columns to ignore.
    """

    target: str
    family: str = "auto"
    weights: str | None = None
    exposure: str | None = None
    offset: str | None = None
    trials: str | None = None
    gate_columns: tuple[str, ...] = ()
    expert_columns: tuple[str, ...] = ()
    categorical: tuple[str, ...] = ()
    keep: tuple[str, ...] = ()
    drop: tuple[str, ...] = ()
    groups: str | None = None

    def row_wise(self) -> dict[str, str]:
        """Column names of the row-wise inputs that are given, by role."""
        names = ("weights", "exposure", "offset", "trials", "groups")
        return {name: getattr(self, name) for name in names if getattr(self, name) is not None}


@dataclass(frozen=True)
class Prepared:
    """What a study needs.

    Attributes
    ----------
    raw : DataFrame
        Raw columns used, rows with a target.
    X : DataFrame
        The model's numeric columns.
    y : ndarray
        Target: floats, or class names as text.
    inputs : dict of str to ndarray
        Row-wise inputs by the estimators' keyword.
    families : tuple of str
        Families to compare.
    preprocessor : TablePreprocessor
    gate_features, expert_features : list of str or None
        The model's columns of each half; None means all.
    notes : tuple of str
    rows : ndarray of shape (n,)
        Position in the table of every row that is used.
    """

    raw: pd.DataFrame
    X: pd.DataFrame
    y: Any
    inputs: dict[str, Any]
    families: tuple[str, ...]
    preprocessor: TablePreprocessor
    gate_features: list[str] | None
    expert_features: list[str] | None
    notes: tuple[str, ...]
    rows: Any = None

    @property
    def classifies(self) -> bool:
        """Whether the target is a class."""
        return self.families == ("multinomial",)


def prepare(table: pd.DataFrame, roles: Roles) -> Prepared:
    """Split a table into columns, target and row-wise inputs, and decide on the family.

    Raises
    ------
    TableError
        If something cannot be used as asked; the message is one clear line.
    """
    column_of(table, roles.target, "target")
    _check_roles(table, roles)
    notes: list[str] = []
    table = _with_target(table, roles.target, notes)
    inputs = row_wise_inputs(table, roles)
    families, y = _family(table[roles.target], roles, inputs, notes)
    used = {roles.target, *roles.row_wise().values(), *roles.drop}
    candidates = table[[name for name in table.columns if name not in used]]
    if candidates.shape[1] == 0:
        raise TableError("no column is left beside the target and the row-wise inputs")
    _check_inputs(roles, families)
    preprocessor = TablePreprocessor.learn(candidates, roles.categorical, roles.keep)
    raw = candidates[[column.name for column in preprocessor.columns]].reset_index(drop=True)
    gate: tuple[str, ...] | None = roles.gate_columns
    if "groups" in inputs and not gate:
        gate = _constant_within(raw, inputs["groups"], notes)
    return Prepared(
        raw=raw,
        X=preprocessor.transform(raw),
        y=y,
        inputs=inputs,
        families=families,
        preprocessor=preprocessor,
        gate_features=_half(preprocessor, gate) if gate is not None else [],
        expert_features=_half(preprocessor, roles.expert_columns),
        notes=tuple(notes) + preprocessor.notes,
        rows=table.index.to_numpy(),
    )


def _constant_within(raw: pd.DataFrame, groups: Any, notes: list[str]) -> tuple[str, ...] | None:
    """Columns with one value within every group, which a gate may see; None without any."""
    sizes = raw.groupby(groups).nunique(dropna=False).max()
    names = tuple(name for name in raw.columns if sizes[name] == 1)
    if len(names) == raw.shape[1]:
        return ()
    if not names:
        notes.append(
            "The gate sees a group once, and no column is constant within the groups: its "
            "probabilities are the same for all."
        )
        return None
    notes.append(
        "The gate sees a group once, so it has the columns that are constant within the groups: "
        f"{', '.join(names)}."
    )
    return names


def _check_roles(table: pd.DataFrame, roles: Roles) -> None:
    taken = {roles.target: "target"}
    for role, name in roles.row_wise().items():
        column_of(table, name, role)
        if name in taken:
            raise TableError(f"column {name!r} cannot be both {taken[name]} and {role}")
        taken[name] = role
    for option in ("gate_columns", "expert_columns", "categorical", "keep", "drop"):
        for name in getattr(roles, option):
            column_of(table, name, f"option --{option.replace('_', '-')}")
    if roles.trials and roles.family not in ("auto", "binomial"):
        raise TableError(f"trials belong to --family binomial, not to {roles.family}")


def _with_target(table: pd.DataFrame, target: str, notes: list[str]) -> pd.DataFrame:
    present = table[target].notna()
    lost = int((~present).sum())
    if lost:
        notes.append(f"{lost} rows without a target were left out.")
    kept = table[present]
    if len(kept) < MIN_ROWS:
        raise TableError(
            f"the table has {len(kept)} row{'s' * (len(kept) != 1)} with a target; at least "
            f"{MIN_ROWS} are needed"
        )
    return kept


def row_wise_inputs(table: pd.DataFrame, roles: Roles) -> dict[str, Any]:
    """Weights, exposure, offset and trials as arrays, checked."""
    inputs = {}
    for role, name in roles.row_wise().items():
        if role == "groups":
            inputs[role] = _labels(table[name])
            continue
        values = numbers(table[name], role)
        bound = {"weights": -1e-300, "exposure": 0.0, "trials": 0.0}.get(role)
        bad = values <= bound if bound is not None else np.zeros(len(values), bool)
        if bad.any():
            row = int(table.index[np.flatnonzero(bad)[0]])
            need = "at least 0" if role == "weights" else "positive"
            raise TableError(
                f"column {name!r} ({role}) must be {need}, but row {row + 1} has "
                f"{values[np.flatnonzero(bad)[0]]:g}"
            )
        if role == "weights" and not values.sum() > 0:
            raise TableError(f"column {name!r} (weights) is zero in every row")
        inputs["sample_weight" if role == "weights" else role] = values
    return inputs


def _labels(column: pd.Series[Any]) -> Any:
    """Labels of groups as text."""
    missing = column.isna().to_numpy()
    if missing.any():
        row = int(column.index[np.flatnonzero(missing)[0]])
        raise TableError(
            f"column {column.name!r} (groups) has no label in row {row + 1}; give every row one"
        )
    return as_text(column).to_numpy(dtype=str)


def _check_inputs(roles: Roles, families: tuple[str, ...]) -> None:
    """Exposure needs a logarithmic link; classes take neither it nor an offset."""
    takers = {"exposure": ("poisson", "gamma"), "offset": FAMILIES[:-1]}
    for role, able in takers.items():
        name = getattr(roles, role)
        wrong = [family for family in families if family not in able]
        if name is not None and wrong:
            chosen = "" if roles.family != "auto" else f" (chosen for {roles.target!r})"
            raise TableError(
                f"the family {wrong[0]}{chosen} takes no {role}; those that do: {', '.join(able)}"
            )


def _half(preprocessor: TablePreprocessor, names: Sequence[str]) -> list[str] | None:
    return preprocessor.outputs_of(names) if names else None


def _family(
    column: pd.Series[Any], roles: Roles, inputs: dict[str, Any], notes: list[str]
) -> tuple[tuple[str, ...], Any]:
    """Families to compare, and the target as they need it."""
    kind = column_kind(column)
    if column.nunique() < 2:
        raise TableError(f"the target {column.name!r} is constant: there is nothing to explain")
    if roles.family == "multinomial" or (roles.family == "auto" and kind == "categorical"):
        return _classes(column, roles, kind, notes)
    if kind == "date":
        raise TableError(f"the target {column.name!r} is a date; give a numeric or class column")
    y = numbers(column, "target")
    if roles.family != "auto":
        _check_support(y, roles.family, column, inputs)
        return (roles.family,), y
    return _auto(column, y, inputs, notes)


def _classes(
    column: pd.Series[Any], roles: Roles, kind: str, notes: list[str]
) -> tuple[tuple[str, ...], Any]:
    y = as_text(column).to_numpy(dtype=str)
    names, counts = np.unique(y, return_counts=True)
    if len(names) > max(2, min(MAX_CLASSES, len(y) // 2)):
        raise TableError(
            f"the target {column.name!r} has {len(names)} different "
            f"{'texts' if kind == 'categorical' else 'values'} in {len(y)} rows; as a class it "
            f"may have at most {max(2, min(MAX_CLASSES, len(y) // 2))}"
        )
    if roles.family == "auto":
        notes.append(
            f"Family: multinomial, because the target is not numeric ({len(names)} classes)."
        )
    if counts.min() < 5:
        notes.append(f"Class {str(names[counts.argmin()])!r} has only {counts.min()} rows.")
    return ("multinomial",), y


def _auto(
    column: pd.Series[Any], y: Any, inputs: dict[str, Any], notes: list[str]
) -> tuple[tuple[str, ...], Any]:
    whole = bool(np.all(y == np.round(y)))
    if "trials" in inputs:
        _check_support(y, "binomial", column, inputs)
        notes.append("Family: binomial, because trials are given.")
        return ("binomial",), y
    if set(np.unique(y)) == {0.0, 1.0}:
        notes.append("Family: multinomial, because the target holds only 0 and 1.")
        return ("multinomial",), as_text(column).to_numpy(dtype=str)
    if whole and y.min() >= 0 and _like_counts(y, "exposure" in inputs):
        notes.append(
            f"Family: poisson, because the target holds counts (whole numbers from {y.min():g} to "
            f"{y.max():g}, mean {y.mean():.3g}). --family gaussian treats them as a measurement."
        )
        return ("poisson",), y
    skewness = float(np.mean(((y - y.mean()) / y.std()) ** 3))
    if y.min() > 0 and skewness > 1:
        notes.append(
            f"Families: gaussian and gamma are compared, because the target is positive and "
            f"skewed (skewness {skewness:.2g}); both are densities of the same target."
        )
        return ("gaussian", "gamma"), y
    why = "whole numbers, but not like counts" if whole else "continuous"
    notes.append(f"Family: gaussian, because the target is numeric ({why}).")
    return ("gaussian",), y


def _like_counts(y: Any, exposure: bool) -> bool:
    """Small whole numbers that start near zero and vary at least as much as Poisson counts."""
    if exposure:
        return True
    return bool(y.min() <= 5 and y.mean() < 100 and y.var() >= 0.7 * y.mean())


def _check_support(y: Any, family: str, column: pd.Series[Any], inputs: dict[str, Any]) -> None:
    """The first row whose target lies outside the family's support is named."""
    if family in ("poisson", "binomial"):
        bad = (y < 0) | (y != np.round(y))
        need = "whole numbers of at least 0"
        if family == "binomial":
            bad |= y > inputs.get("trials", np.ones(len(y)))
            need = "whole numbers between 0 and the trials (column given by --trials, else 1)"
    elif family == "gamma":
        bad, need = y <= 0, "positive numbers"
    else:
        return
    if bad.any():
        first = int(np.flatnonzero(bad)[0])
        raise TableError(
            f"--family {family} needs {need} in {column.name!r}, but row "
            f"{int(column.index[first]) + 1} has {y[first]:g}"
        )
