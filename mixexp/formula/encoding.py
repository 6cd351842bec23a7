"""A whole formula on a data frame: one design, the response, and row-wise inputs."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import NamedTuple

import numpy as np
import pandas as pd

from mixexp.formula.aliasing import NOTHING_ALIASED, Aliasing, aliasing
from mixexp.formula.frames import check_columns, check_kinds, check_missing, check_types, kinds_of
from mixexp.formula.parsing import Sides, arguments_of_call, expand_dot, powers, split_formula
from mixexp.formula.part import Part, PartState

NO_COLUMNS = "(no columns)"  # the name of a column of zeros, where neither part has columns


class Roles(NamedTuple):
    """Names of columns with a role of their own; None where there is none."""

    weights: str | None = None
    offset: str | None = None
    exposure: str | None = None
    trials: str | None = None
    groups: str | None = None

    def given(self) -> dict[str, str]:
        """The roles that a column has."""
        return {role: name for role, name in self._asdict().items() if name is not None}


class Coded(NamedTuple):
    """Rows as the estimators take them.

    Attributes
    ----------
    X : DataFrame of shape (n, p)
        The union of the columns of both parts.
    y : ndarray of shape (n,) or (n, m), or None
        None where the response was not asked for.
    inputs : dict of str to ndarray
        ``offset``, ``exposure`` and ``trials``, as far as the model has them.
    weight : ndarray of shape (n,) or None
    kept : ndarray of shape (n,) of bool
        Rows of the data that are complete.
    groups : ndarray of shape (n,) or None
        Labels of rows that share one expert; None where the response was not asked for.
    """

    X: pd.DataFrame
    y: np.ndarray | None
    inputs: dict[str, np.ndarray]
    weight: np.ndarray | None
    kept: np.ndarray
    groups: np.ndarray | None = None

    @property
    def with_groups(self) -> dict[str, np.ndarray]:
        """Row-wise inputs of the methods that know groups."""
        return self.inputs if self.groups is None else self.inputs | {"groups": self.groups}


class EncodingState(NamedTuple):
    """What a file holds of an `Encoding`; parts are `PartState`."""

    formula: str
    roles: dict[str, str]
    counts_trials: bool
    kinds: dict[str, str]
    experts: PartState
    gate: PartState
    response: list[PartState]
    offsets: list[PartState]
    aliased_experts: Aliasing
    aliased_gate: Aliasing


@dataclass(frozen=True)
class Encoding:
    """How rows of a data frame become a design.

    Attributes
    ----------
    formula : str
    roles : Roles
    counts_trials : bool
        Whether ``cbind(successes, failures)`` makes the trials.
    kinds : dict of str to str
        What each column of the data was in training: "numbers", "categories" or another type.
    experts, gate : Part
    response : tuple of Part
        One for each response; empty where the response is a column, which is taken as it is.
    offsets : tuple of Part
        The ``offset(...)`` terms.
    aliased_experts, aliased_gate : Aliasing
        Columns left out since others span them.
    """

    formula: str
    roles: Roles
    counts_trials: bool
    kinds: dict[str, str]
    experts: Part
    gate: Part
    response: tuple[Part, ...]
    offsets: tuple[Part, ...]
    aliased_experts: Aliasing = NOTHING_ALIASED
    aliased_gate: Aliasing = NOTHING_ALIASED

    @classmethod
    def parse(
        cls, formula: str, columns: list[str], roles: Roles, *, takes_trials: bool
    ) -> Encoding:
        """The parts of a formula, before any row is read.

        Parameters
        ----------
        columns : list of str
            Columns of the data, for the dot.
        takes_trials : bool
            Whether the family is binomial: ``cbind`` then holds successes and failures.

        Raises
        ------
        ValueError
            If the formula cannot be read or says what mixtures of experts do not have.
        """
        sides = split_formula(formula)
        response, counts_trials = _response_parts(sides.response, takes_trials)
        if counts_trials and roles.trials is not None:
            raise ValueError(
                "the response cbind(successes, failures) makes the trials: leave trials= out, or "
                "write the successes alone as response."
            )
        own = set().union(*(part.variables for part in response)) | set(roles.given().values())
        rest = [name for name in columns if name not in own]
        experts = Part.parse(expand_dot(sides.experts, rest))
        gate = Part.parse(expand_dot(sides.gate, rest))
        _check_intercepts(sides, experts, gate)
        given = set().union(*(part.variables for part in response))
        explained = sorted(given & (experts.variables | gate.variables))
        if explained:
            raise ValueError(
                f"formula {formula!r} explains the response by itself: {explained[0]!r} stands on "
                "both sides of the tilde. Leave it out of the terms."
            )
        if gate.offsets and sides.gate != sides.experts:
            raise ValueError(
                f"formula: the gate's part {sides.gate!r} has an offset, which gates do not take; "
                "write it in the experts' part."
            )
        offsets = tuple(_arithmetic(text) for text in experts.offsets)
        return cls(formula, roles, counts_trials, {}, experts, gate, response, offsets)

    # --- rows -------------------------------------------------------------------------------

    def fitted(
        self, frame: pd.DataFrame, weight: np.ndarray | None, missing: str
    ) -> tuple[Encoding, Coded]:
        """The encoding of these rows, and the rows.

        Raises
        ------
        ValueError
            If a column is missing from the frame, or rows are incomplete and missing="raise".
        """
        used = sorted(self.variables(response=True))
        check_columns(frame, used, self._meanings())
        kept = check_missing(frame, used, missing)
        frame = frame.loc[kept, used].reset_index(drop=True)
        check_types(frame)
        experts, own = self.experts.fitted(frame)
        gate, routing = self.gate.fitted(frame)
        gate, routing = _renamed(gate, routing, own)
        response = () if self.response_column else self.response
        parts = tuple(part.fitted(frame) for part in response)
        shifts = tuple(part.fitted(frame) for part in self.offsets)
        encoding = replace(
            self,
            kinds=kinds_of(frame),
            experts=experts,
            gate=gate,
            response=tuple(part for part, _ in parts) or self.response,
            offsets=tuple(part for part, _ in shifts),
        )
        weight = None if weight is None else weight[kept]
        return encoding, encoding._coded(frame, own, routing, True, weight, kept)

    def without_aliased(self, coded: Coded, *, experts: bool, gate: bool) -> Encoding:
        """The encoding without the columns that others span, in the parts that are asked for."""

        own, routing = coded.X[list(self.experts.columns)], coded.X[list(self.gate.columns)]
        return replace(
            self,
            aliased_experts=aliasing(own, coded.weight) if experts else NOTHING_ALIASED,
            aliased_gate=aliasing(routing, coded.weight) if gate else NOTHING_ALIASED,
        )

    def rows(self, frame: pd.DataFrame, *, response: bool = False, missing: str = "raise") -> Coded:
        """New rows, encoded as the training rows were."""
        used = sorted(self.variables(response=response))
        check_columns(frame, used, self._meanings())
        kept = check_missing(frame, used, missing)
        frame = frame.loc[kept, used].reset_index(drop=True)
        check_kinds(frame, self.kinds)
        own, routing = self.experts.design(frame), self.gate.design(frame)
        self.aliased_experts.check(own)
        self.aliased_gate.check(routing)
        return self._coded(frame, own, routing, response, None, kept)

    def _coded(self, frame, own, routing, response, weight, kept) -> Coded:
        inputs = {
            role: _numbers(frame[name], role)
            for role, name in self.roles.given().items()
            if role not in ("weights", "groups")
        }
        for part in self.offsets:
            shift = _one_column(part, frame)
            inputs["offset"] = shift + inputs.get("offset", 0.0)
        y = groups = None
        if response:
            groups = None if self.roles.groups is None else frame[self.roles.groups].to_numpy()
            y, trials = self._response(frame)
            inputs |= {} if trials is None else {"trials": trials}
            if self.roles.weights is not None and self.roles.weights in frame:
                weight = _numbers(frame[self.roles.weights], "weights")
        return Coded(self._union(own, routing), y, inputs, weight, kept, groups)

    def _response(self, frame) -> tuple[np.ndarray, np.ndarray | None]:
        if self.response_column:
            column = frame[self.response_column]
            # an ordinal expert reads the order of the categories
            ordered = getattr(column.dtype, "ordered", False)
            return column if ordered else column.to_numpy(), None
        y = np.column_stack([_one_column(part, frame) for part in self.response])
        if self.counts_trials:
            return y[:, 0], y.sum(axis=1)
        return (y[:, 0] if len(self.response) == 1 else y), None

    def _union(self, own: pd.DataFrame, routing: pd.DataFrame) -> pd.DataFrame:
        new = [name for name in routing.columns if name not in own.columns]
        X = pd.concat([own, routing[new]], axis=1)
        return X if X.shape[1] else pd.DataFrame({NO_COLUMNS: np.zeros(len(X))})

    # --- names ------------------------------------------------------------------------------

    def variables(self, *, response: bool) -> frozenset[str]:
        """Columns of the data that rows are made of."""
        parts = [self.experts, self.gate, *self.offsets, *(self.response if response else ())]
        of_the_fit = () if response else ("weights", "groups")
        roles = {r: name for r, name in self.roles.given().items() if r not in of_the_fit}
        return frozenset(roles.values()).union(*(part.variables for part in parts))

    def _meanings(self) -> dict[str, str]:
        """What a column is for, in words, for messages."""
        meanings = {name: role for role, name in self.roles.given().items()}
        for part in self.response:
            meanings |= {name: "the response" for name in part.variables}
        return meanings

    @property
    def expert_columns(self) -> list[str]:
        """Columns of the experts' part."""
        return [name for name in self.experts.columns if name not in self.aliased_experts.names]

    @property
    def gate_columns(self) -> list[str]:
        """Columns of the gate's part."""
        return [name for name in self.gate.columns if name not in self.aliased_gate.names]

    @property
    def response_name(self) -> str:
        """The response's text."""
        return split_formula(self.formula).response

    @property
    def response_column(self) -> str | None:
        """The column that is the response as it stands, or None where it is computed."""
        return (self.response[0].is_column or None) if len(self.response) == 1 else None

    @property
    def transforms_response(self) -> bool:
        """Whether a response is computed, so that densities are those of another variable."""
        return not all(part.is_column for part in self.response) and not self.counts_trials

    # --- files ------------------------------------------------------------------------------

    def to_state(self) -> EncodingState:
        """What a file holds."""
        return EncodingState(
            self.formula,
            self.roles.given(),
            self.counts_trials,
            dict(self.kinds),
            self.experts.to_state(),
            self.gate.to_state(),
            [part.to_state() for part in self.response],
            [part.to_state() for part in self.offsets],
            self.aliased_experts,
            self.aliased_gate,
        )

    @classmethod
    def from_state(cls, state: EncodingState) -> Encoding:
        """The inverse of `to_state`."""
        values = state._asdict()
        values["roles"] = Roles(**state.roles)
        for name in ("experts", "gate"):
            values[name] = Part.from_state(values[name])
        for name in ("response", "offsets"):
            values[name] = tuple(Part.from_state(part) for part in values[name])
        return cls(**{item.name: values[item.name] for item in fields(cls)})


def _response_parts(text: str, takes_trials: bool) -> tuple[tuple[Part, ...], bool]:
    """The parts of a response, and whether they are successes and failures."""
    several = arguments_of_call(text, "cbind")
    if several is None:
        return (_arithmetic(text),), False
    if takes_trials and len(several) != 2:
        raise ValueError(
            f"response {text!r}: a binomial response is cbind(successes, failures); got "
            f"{len(several)} columns."
        )
    return tuple(_arithmetic(item) for item in several), takes_trials


def _arithmetic(text: str) -> Part:
    """An expression whose signs are arithmetic; a column stays a column."""
    quoted = text.startswith("`") and text.endswith("`") and text.count("`") == 2
    if text.isidentifier() or quoted:
        part = Part.parse(text)
        return replace(part, is_column=text.strip("`"))
    return Part.parse(powers(f"I({text})"))


def _one_column(part: Part, frame: pd.DataFrame) -> np.ndarray:
    design = part.design(frame)
    if design.shape[1] != 1:
        raise ValueError(
            f"formula: {part.source} makes {design.shape[1]} columns of numbers; one is needed. "
            "Is the column text?"
        )
    return design.to_numpy()[:, 0]


def _check_intercepts(sides: Sides, experts: Part, gate: Part) -> None:
    if not experts.intercept:
        raise ValueError(
            f"formula: the experts' part {sides.experts!r} takes the intercept away (0 + or - 1); "
            "every expert has one. Leave that out, or centre the response."
        )
    if not gate.intercept:
        raise ValueError(
            f"formula: the gate's part {sides.gate!r} takes the intercept away (0 + or - 1); gates "
            "have one. For probabilities that are the same everywhere write | 1."
        )


def _renamed(gate: Part, routing: pd.DataFrame, own: pd.DataFrame) -> tuple[Part, pd.DataFrame]:
    """The gate's part, its columns renamed where the experts' have the name but other values."""
    names = {
        name: f"gate {name}"
        for name in routing.columns
        if name in own.columns and not np.array_equal(routing[name], own[name])
    }
    return gate.renamed(names), routing.rename(columns=names)


def _numbers(values: pd.Series, role: str) -> np.ndarray:
    if not pd.api.types.is_numeric_dtype(values):
        raise ValueError(f"{role}: the column {values.name!r} holds {values.dtype}, not numbers.")
    return values.to_numpy(dtype=np.float64)
