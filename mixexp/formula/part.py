"""One part of a formula with the encoding of the data it was fitted to: formulaic behind a face.

``bs(x)`` keeps its knots, ``poly(x, 2)`` its recurrence and a factor its levels, so that new rows
are encoded as the training rows were.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from formulaic import Formula, ModelSpec
from formulaic.errors import DataMismatchWarning, FormulaicError
from formulaic.parser.types import Factor

from mixexp.formula.parsing import arguments_of_call
from mixexp.formula.vocabulary import variables_of

INTERCEPT = "1"


class PartState(NamedTuple):
    """What a file holds of a part: its text and the numbers of its transforms, no objects.

    Attributes
    ----------
    source : str
    transforms : dict of str to dict
        State of every stateful transform, by its text.
    levels : list of tuple
        Text of a factor, whether it is categorical, and its levels (empty for numbers).
    columns : list of str
        Names of the design's columns, the intercept left out.
    terms : list of str
        The term of each column.
    is_column : str
        The name, where the text is nothing but a column's name.
    renamed : dict of str to str
        Columns that have another name in the design.
    """

    source: str
    transforms: dict[str, Any]
    levels: list[tuple[str, bool, list[Any]]]
    columns: list[str]
    terms: list[str]
    is_column: str
    renamed: dict[str, str]


@dataclass(frozen=True)
class Part:
    """Terms of a formula, and after `fitted` their encoding.

    Attributes
    ----------
    source : str
    intercept : bool
        Whether the terms have one (the default of formulas); it is no column of the design.
    offsets : tuple of str
        The expressions inside ``offset(...)`` terms, which are no columns either.
    variables : frozenset of str
        Columns of the data that the terms read, offsets left out.
    columns, terms : tuple of str
        Names of the design's columns, and the term of each.
    is_column : str
        The name, where the text is nothing but a column's name.
    """

    source: str
    intercept: bool
    offsets: tuple[str, ...]
    variables: frozenset[str]
    _terms: tuple[Any, ...] = field(repr=False)
    _spec: Any = field(default=None, repr=False)
    columns: tuple[str, ...] = ()
    terms: tuple[str, ...] = ()
    is_column: str = ""
    _names: dict[str, str] = field(default_factory=dict, repr=False)

    @classmethod
    def parse(cls, source: str) -> Part:
        """The part of a text such as ``poly(E, 2) + C + offset(log(t))``.

        Raises
        ------
        ValueError
            If the text is no formula, or holds what `vocabulary` does not list.
        """
        try:
            found = Formula(source)
        except (FormulaicError, SyntaxError, ValueError) as error:
            raise ValueError(f"formula: {source!r} cannot be read: {plain(error)}") from error
        terms, offsets = [], []
        variables: set[str] = set()
        for term in found:
            inside = [
                (factor.expr, arguments_of_call(factor.expr, "offset")) for factor in term.factors
            ]
            if any(arguments is not None for _, arguments in inside):
                own = inside[0][1] or []
                if len(inside) > 1 or len(own) != 1:
                    raise ValueError(
                        f"formula: the term {term} is no offset: offset(...) holds one expression "
                        "and stands alone, as in 'y ~ x + offset(log(t))'."
                    )
                offsets.append(own[0])
                continue
            terms.append(term)
            for factor in term.factors:
                variables |= _variables(factor)
        intercept = any(str(term) == INTERCEPT for term in terms)
        return cls(source, intercept, tuple(offsets), frozenset(variables), tuple(terms))

    def fitted(self, frame: pd.DataFrame) -> tuple[Part, pd.DataFrame]:
        """The part with the encoding of these rows, and its design without the intercept.

        Raises
        ------
        ValueError
            If a term cannot be evaluated.
        """
        spec = ModelSpec(formula=list(self._terms), na_action="ignore", output="pandas")
        matrix, spec = _matrix(spec, frame)
        names = [
            (str(row.term), column)
            for row in spec.structure
            for column in row.columns
            if column != "Intercept"
        ]
        part = replace(
            self,
            _spec=spec.update(structure=None),  # new rows are encoded as after loading
            terms=tuple(term for term, _ in names),
            columns=tuple(column for _, column in names),
        )
        return part, part._checked(matrix)

    def design(self, frame: pd.DataFrame) -> pd.DataFrame:
        """The columns for new rows, encoded as the training rows were.

        Raises
        ------
        ValueError
            If a factor has levels that the training rows did not have.
        """
        self._check_levels(frame)
        matrix, _ = _matrix(self._spec, frame)
        return self._checked(matrix)

    def renamed(self, names: dict[str, str]) -> Part:
        """The part with other names of some columns."""
        columns = tuple(names.get(name, name) for name in self.columns)
        return replace(self, columns=columns, _names=names)

    def _checked(self, matrix: pd.DataFrame) -> pd.DataFrame:
        matrix = matrix.drop(columns="Intercept", errors="ignore").rename(columns=self._names)
        if tuple(matrix.columns) != self.columns:
            raise ValueError(
                f"the rows give the columns {list(matrix.columns)}, the model has "
                f"{list(self.columns)}: give each column of the data the type it had in training."
            )
        matrix = matrix.astype(np.float64)
        bad = ~np.isfinite(matrix.to_numpy())
        if bad.any():
            j = int(bad.any(axis=0).argmax())
            raise ValueError(
                f"formula: {matrix.columns[j]} is not finite in {int(bad[:, j].sum())} of "
                f"{len(matrix)} rows (a logarithm of zero or a negative number?). Leave these rows "
                "out or change the term."
            )
        return matrix

    def _check_levels(self, frame: pd.DataFrame) -> None:
        for factor in {factor for term in self._terms for factor in term.factors}:
            kind, state = self._spec.encoder_state.get(factor.expr, (None, {}))
            name = _column_of_factor(factor)
            if kind is not Factor.Kind.CATEGORICAL or name not in frame:
                continue
            known = _plain_levels(state["categories"])
            unseen = [v for v in _plain_levels(frame[name].dropna().unique()) if v not in known]
            if unseen:
                raise ValueError(
                    f"formula: {factor.expr} has the level(s) {unseen}, which the training rows "
                    f"did not have; known are {known}. Leave these rows out, map the level to a "
                    "known one, or fit with rows of it."
                )

    def to_state(self) -> PartState:
        """What a file holds."""
        spec = ModelSpec(formula=[]) if self._spec is None else self._spec
        levels = [
            (expr, kind is Factor.Kind.CATEGORICAL, _plain_levels(state.get("categories", [])))
            for expr, (kind, state) in spec.encoder_state.items()
        ]
        return PartState(
            self.source,
            _plain(spec.transform_state),
            levels,
            list(self.columns),
            list(self.terms),
            self.is_column,
            dict(self._names),
        )

    @classmethod
    def from_state(cls, state: PartState) -> Part:
        """The inverse of `to_state`; the text is checked again."""
        part = cls.parse(state.source)
        kinds = Factor.Kind.NUMERICAL, Factor.Kind.CATEGORICAL
        spec = ModelSpec(
            formula=list(part._terms),
            na_action="ignore",
            output="pandas",
            transform_state=_plain(state.transforms),
            encoder_state={
                expr: (kinds[categorical], {"categories": list(levels)} if categorical else {})
                for expr, categorical, levels in state.levels
            },
        )
        return replace(
            part,
            _spec=spec,
            is_column=state.is_column,
            _names=dict(state.renamed),
            columns=tuple(state.columns),
            terms=tuple(state.terms),
        )


def plain(error: Exception) -> str:
    """One line of a parser's error, without colours and marks."""
    text = re.sub("⧛[^m]*m|⧚|\x1b\\[[0-9;]*m", "", str(error))
    return " ".join(text.split())


def _variables(factor: Any) -> frozenset[str]:
    if factor.eval_method.value == "literal":
        return frozenset()
    if factor.eval_method.value == "lookup":
        return frozenset({factor.expr})
    return variables_of(factor.expr)


def _column_of_factor(factor: Any) -> str | None:
    """The column whose values are a factor's levels: of ``g`` and of ``C(g, ...)``."""
    if factor.eval_method.value == "lookup":
        return factor.expr
    arguments = arguments_of_call(factor.expr, "C")
    return arguments[0].strip("`") if arguments else None


def _matrix(spec: Any, frame: pd.DataFrame) -> tuple[pd.DataFrame, Any]:
    """Model matrix and the specification with its state; formulaic's errors as ValueErrors."""
    if not spec.formula:
        return pd.DataFrame(index=frame.index), spec.update(structure=[])
    try:
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("error", DataMismatchWarning)
            matrix = spec.get_model_matrix(frame, context={})
    except DataMismatchWarning as error:
        unseen = re.search(r"\{.*?\}", str(error))
        raise ValueError(
            f"formula: levels that have no coefficient, {unseen[0] if unseen else error}: they are "
            "not in levels=, or were not in the training rows. Leave these rows out, or map the "
            "levels to known ones."
        ) from error
    except (FormulaicError, TypeError, ValueError) as error:
        raise ValueError(f"formula: {plain(error)}") from error
    return pd.DataFrame(matrix), matrix.model_spec


def _plain_levels(levels: Iterable[Any]) -> list[Any]:
    return [level.item() if isinstance(level, np.generic) else level for level in levels]


def _plain(state: Any) -> Any:
    """Nested state with numpy scalars as Python numbers; also a deep copy."""
    if isinstance(state, dict):
        return {key: _plain(value) for key, value in state.items()}
    if isinstance(state, list | tuple):
        return type(state)(_plain(value) for value in state)
    return state.item() if isinstance(state, np.generic) else state
