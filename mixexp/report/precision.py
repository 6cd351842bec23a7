"""Estimates with standard errors, or the reason why there are none."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from mixexp.report.html import bullets, esc, number, table

if TYPE_CHECKING:
    from mixexp.report.page import TableStudy

MANY = 400  # parameters, beyond which a table is not read
INTRO = (
    "Standard errors come from the observed information of gate and experts together; z and p "
    "refer to a value of zero and to the normal law, which holds for large samples and experts "
    "that are well told apart. They take the chosen model as given: that it was chosen on the same "
    "rows is not in them."
)
REMAINS = (
    "The estimates, the predictions and the checks of this page stay what they are; only their "
    "sampling error is not known from the fit."
)


def precision(study: TableStudy) -> str:
    """The table of coefficients with standard errors, or what takes its place."""
    diagnosis = study.explanation.diagnosis
    result = None if diagnosis is None else diagnosis.inference
    if result is None:
        why = "" if diagnosis is None else diagnosis.refused.get("inference", "")
        return (
            "<p>There are no standard errors for this fit. "
            f"{esc(why)}</p><p>{esc(REMAINS)}</p>"
        )  # fmt: skip
    if len(result.names) > MANY:
        return (
            f"<p>{len(result.names)} parameters are too many for a table: "
            "<code>model.inference(X, y)</code> gives their standard errors.</p>"
        )
    classes = [str(c) for c in getattr(study.model.estimator, "classes_", ())]
    body = _table(result, classes)
    return f"<p>{esc(INTRO)}</p>{body}{bullets(result.notes)}"


def _table(result: Any, classes: Sequence[str]) -> str:
    values = np.column_stack([result.params, result.bse, result.tvalues])
    blocks: dict[str, list[list[str]]] = {}
    for name, own, p, (low, high) in zip(
        result.names, values, result.pvalues, result.conf_int().to_numpy(), strict=True
    ):
        head, term = name.split(": ", 1) if ": " in name else ("parameters", name)
        ends = f"{number(low)} to {number(high)}"
        cells = [esc(term), *[number(v) for v in own], probability(p), ends]
        blocks.setdefault(head, []).append(cells)
    rows, marks = [], []
    for head, cells_of in blocks.items():
        rows += [[f"<strong>{esc(named(head, classes))}</strong>", *[""] * 5], *cells_of]
        marks += ["head", *[""] * len(cells_of)]
    columns = ["Parameter", "Estimate", "Std. error", "z", "P&gt;|z|", "95 % interval"]
    return table(columns, rows, classes=marks)


def probability(p: float) -> str:
    """A p-value; tiny ones as a bound."""
    if not np.isfinite(p):
        return "\u2013"
    return "&lt;0.0001" if p < 1e-4 else f"{p:.4f}"


def named(head: str, classes: Sequence[str] = ()) -> str:
    """What a block of parameters is called on the page, where experts count from one.

    "gate 1 vs 0" is there "Gate, expert 2 against expert 1", and classes have their names.
    """

    def following(match: re.Match[str]) -> str:
        return f"expert {int(match[1]) + 1}"

    def of_class(match: re.Match[str]) -> str:
        which = [int(match[1]), int(match[2])]
        if max(which) >= len(classes):
            return match[0]
        return f"class {classes[which[0]]} against {classes[which[1]]}"

    text = re.sub(r"^gate (\d+) vs (\d+)$", r"Gate, expert \1 against expert \2", head)
    text = re.sub(r"^gate (\d+)$", r"Gate, expert \1", text)
    text = re.sub(r"\bexpert (\d+)", following, text)
    text = re.sub(r"\bclass (\d+) vs (\d+)", of_class, text)
    return text[:1].upper() + text[1:]
