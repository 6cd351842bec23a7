"""Gate, certainty, influence and leverage: the checks of the chosen fit beside its residuals."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from mixexp.explain.residuals import worms
from mixexp.plotting import (
    plot_gate_calibration,
    plot_influence,
    plot_uncertainty,
    plot_worm,
)
from mixexp.report.figures import figure, grid
from mixexp.report.html import esc, frame, number, table

if TYPE_CHECKING:
    from mixexp.explain import Diagnosis
    from mixexp.report.page import TableStudy

TOP = 8  # rows that are named


def worm_figure(residuals: Any) -> str:
    """The QQ plot without its line, and what its cubic says."""
    worm = worms(residuals)[0]
    words = ("the mean", "the spread", "skewness", "tails")
    wrong = [word for word, bad in zip(words, worm.alarming, strict=True) if bad]
    told = f"The curve points to {' and '.join(wrong)}." if wrong else "The curve is flat enough."
    return figure(
        lambda ax: plot_worm(worm, ax),
        "Worm plot of the quantile residuals",
        f"The QQ plot less its line; {100 * worm.outside:.0f} % of the points are outside the "
        f"band. {told}",
    )


def further_checks(study: TableStudy) -> str:
    """Sections on the gate, the assignment of rows, and influential rows."""
    found = study.explanation.diagnosis
    if found is None:
        return ""
    several = study.model.estimator.n_experts_ > 1
    return (
        (_gate(found) + _certainty(found) if several else "")
        + _influence(study, found)
        + _leverage(study, found)
    )


def _names(study_or_table: Any) -> list[str]:
    return [f"expert {k + 1}" for k in range(len(study_or_table))]


def _left_out(found: Diagnosis, part: str) -> str:
    why = found.refused.get(part)
    return f'<p class="muted">{esc(why)}</p>' if why else ""


def _gate(found: Diagnosis) -> str:
    title = "<h3>Does the gate foretell the experts?</h3>"
    if found.gate is None:
        return title + _left_out(found, "gate")
    calibration = replace(found.gate, experts=tuple(_names(found.gate.gate)))
    z = np.abs(np.concatenate(calibration.z))
    drawn = figure(
        lambda ax: plot_gate_calibration(calibration, ax),
        "Mean posterior probabilities of the experts against those of the gate",
        "Bins of equal numbers of rows; bars are two standard errors. On the diagonal the gate "
        f"is calibrated; {int((z > 2).sum())} of {len(z)} bins are further than that from it.",
    )
    return title + grid([drawn])


def _certainty(found: Diagnosis) -> str:
    title = "<h3>How sure is the assignment of rows?</h3>"
    known = found.uncertainty
    if known is None:
        return title + _left_out(found, "uncertainty")
    names = _names(known.experts)
    shown = known.experts.set_axis(names, axis=0).rename(
        columns={
            "rows": "rows assigned", "mean_posterior": "mean posterior",
            "odds": "odds of a right assignment",
        }
    )  # fmt: skip
    text = (
        f"The entropy of the posterior probabilities sums to {number(known.total_entropy, 3)} "
        f"(what ICL adds), a separation of {number(known.separation, 2)}: one means that every "
        "row belongs to one expert for sure, zero that nothing tells them apart. A mean posterior "
        "below 0.7, or odds below 5, mark an expert whose rows are not its own for sure."
    )
    drawn = figure(
        lambda ax: plot_uncertainty(known, ax, names=names),
        "Histogram of the rows' largest posterior probabilities",
        "Rows on the left belong to no expert for sure.",
    )
    return f"{title}<p>{esc(text)}</p>{frame(shown)}{grid([drawn])}"


def _influence(study: TableStudy, found: Diagnosis) -> str:
    title = "<h3>Which rows made the fit what it is?</h3>"
    own = found.influence
    if own is None:
        return title + _left_out(found, "influence")
    text = (
        "Cook's distance of a row tells how far the parameters would move without it; about 1 is "
        "a move to the border of their confidence region. A large one is no error: look at the row."
    )
    if own.n_held:
        text += f" Directions that the rows do not determine were held fixed: {own.n_held}."
    labels = study.rows
    drawn = figure(
        lambda ax: plot_influence(own, ax, labels),
        "Cook's distance of every row",
        "The largest are named by their row in the file.",
    )
    largest = own.largest(TOP)
    rows = [
        [str(labels[i]), number(own.cook[i], 3), number(own.displacement[i], 3), *_moved(own, i)]
        for i in largest
    ]
    head = ["Row", "Cook's distance", "Likelihood displacement", "Largest change", "by"]
    return f"{title}<p>{esc(text)}</p>{grid([drawn])}{table(head, rows, text=[3])}"


def _moved(own: Any, row: int) -> list[str]:
    """The parameter that a row moves most, in units of its spread over all rows."""
    spread = own.change.std(axis=0).to_numpy()
    change = own.change.iloc[row].to_numpy()
    if not np.isfinite(change).all():
        return ["\u2013", "\u2013"]
    k = int(np.argmax(np.abs(change) / np.where(spread > 0, spread, np.inf)))
    return [esc(counted(str(own.change.columns[k]))), number(change[k], 3)]


def counted(name: str) -> str:
    """A parameter's name on the page, where experts count from one."""
    head, _, term = name.partition(": ")
    part, _, place = head.rpartition(" ")
    return f"{part} {int(place) + 1}: {term}" if place.isdecimal() else name


def _leverage(study: TableStudy, found: Diagnosis) -> str:
    own = found.leverage
    if own is None:
        reason = _left_out(found, "leverage")
        return f"<h3>Leverage within the experts</h3>{reason}" if reason else ""
    data = own.experts
    rows = [
        [
            f"expert {k + 1}", *[number(v) for v in data.iloc[k, :3]],
            str(study.rows[int(data["row"].iloc[k])]), str(int(own.high[:, k].sum())),
        ]
        for k in range(len(data))
    ]  # fmt: skip
    head = ["", "Effective rows", "Coefficients", "Largest hat value", "Its row", "High rows"]
    text = (
        "A hat value tells how much a row's own target pulls the fit at that row, within each "
        "expert's weighted regression; 1 means that the expert goes through it. High rows have "
        "more than three times the average."
    )
    return f"<h3>Leverage within the experts</h3><p>{esc(text)}</p>{table(head, rows)}"
