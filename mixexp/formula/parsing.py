"""The text of a formula: its response, the experts' part and the gate's part."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise
from typing import NamedTuple

EXAMPLE = "y ~ x + z | x"


class Sides(NamedTuple):
    """The three texts of ``response ~ experts | gate``."""

    response: str
    experts: str
    gate: str


class _Mark(NamedTuple):
    """One character that stands outside quotes, with the brackets around it."""

    at: int
    char: str
    depth: int
    in_call: bool


def split_formula(formula: str) -> Sides:
    """The parts of a formula; without a bar experts and gate have the same.

    The power sign ``^`` of R may stand inside calls.

    Raises
    ------
    ValueError
        If there is not one tilde with something on both sides, or more than one bar, or a bar in
        brackets, which is random-effect syntax.
    """
    if not isinstance(formula, str):
        raise ValueError(f"formula must be text such as {EXAMPLE!r}; got {formula!r}.")
    formula = powers(formula)
    marks = list(_marks(formula))
    tildes = [mark.at for mark in marks if mark.char == "~" and not mark.in_call]
    if len(tildes) != 1:
        raise ValueError(
            f"formula {formula!r} has {len(tildes)} tildes; it needs one, between the response and "
            f"the terms, as in {EXAMPLE!r}."
        )
    bars = [mark for mark in marks if mark.char == "|" and not mark.in_call]
    if any(mark.depth for mark in bars):
        raise ValueError(
            f"formula {formula!r} has a bar in brackets: random effects like (1 | group) are not "
            "part of formulas. Use the group as a term; the bar outside brackets separates the "
            "experts' part from the gate's."
        )
    if len(bars) > 1:
        raise ValueError(
            f"formula {formula!r} has {len(bars)} bars; at most one may stand between the experts' "
            f"part and the gate's, as in {EXAMPLE!r}."
        )
    if bars and bars[0].at < tildes[0]:
        raise ValueError(
            f"formula {formula!r} has a bar in its response; the bar stands between the experts' "
            f"part and the gate's, as in {EXAMPLE!r}."
        )
    response, right = formula[: tildes[0]].strip(), formula[tildes[0] + 1 :]
    cut = bars[0].at - tildes[0] - 1 if bars else len(right)
    experts = right[:cut].strip()
    gate = right[cut + 1 :].strip() if bars else experts
    named = {"response": response, "experts' part": experts, "gate's part": gate}
    for what, text in named.items():
        if not text:
            raise ValueError(
                f"formula {formula!r} has no {what}; it reads 'response ~ experts | gate', as in "
                f"{EXAMPLE!r} (a part without columns is 1)."
            )
    return Sides(response, experts, gate)


def arguments_of_call(text: str, function: str) -> list[str] | None:
    """The arguments of ``function(a, b)`` as texts, or None where the text is no such call."""
    if not text.startswith(function):
        return None
    inner = text[len(function) :].strip()
    if not (inner.startswith("(") and inner.endswith(")")):
        return None
    marks = list(_marks(inner))
    if any(mark.depth == 0 for mark in marks[1:-1]):
        return None
    cuts = [0, *(m.at for m in marks if m.char == "," and m.depth == 1), len(inner) - 1]
    return [inner[a + 1 : b].strip() for a, b in pairwise(cuts)]


def expand_dot(text: str, columns: Iterable[str]) -> str:
    """The text with a single dot replaced by the sum of the columns (in backticks)."""
    alone = [
        mark.at
        for mark in _marks(text)
        if mark.char == "." and not mark.in_call and _stands_alone(text, mark.at)
    ]
    everything = "(" + " + ".join(f"`{name}`" for name in columns) + ")"
    for at in reversed(alone):
        text = text[:at] + everything + text[at + 1 :]
    return text


def powers(text: str) -> str:
    """R's power inside calls, I(x^2), as Python's; between terms both mean crossing."""
    for mark in reversed([m for m in _marks(text) if m.char == "^" and m.in_call]):
        text = text[: mark.at] + "**" + text[mark.at + 1 :]
    return text


def _stands_alone(text: str, at: int) -> bool:
    around = text[at - 1 : at] + text[at + 1 : at + 2]
    return not any(char.isalnum() or char in "_.`" for char in around)


def _marks(text: str) -> Iterable[_Mark]:
    """All characters outside quotes and backticks; a closing bracket has the depth of its pair."""
    quote = ""
    calls: list[bool] = []
    for at, char in enumerate(text):
        if quote:
            quote = "" if char == quote else quote
            continue
        if char in "\"'`":
            quote = char
            continue
        if char in ")]}" and calls:
            calls.pop()
        yield _Mark(at, char, len(calls), any(calls))
        if char in "([{":
            before = text[:at].rstrip()[-1:]
            calls.append(char != "(" or before.isalnum() or before in ("_", "`"))
