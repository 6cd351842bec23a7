"""Figures of predictions and checks, with their explanations."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from mixexp.plotting import (
    plot_calibration,
    plot_fit_lines,
    plot_gate_regions,
    plot_partial_effects,
    plot_residuals,
)
from mixexp.report.diagnostics import further_checks, worm_figure
from mixexp.report.figures import figure, grid
from mixexp.report.html import esc, number, table

if TYPE_CHECKING:
    from mixexp.report.page import TableStudy


def prediction_figures(study: TableStudy) -> str:
    """Lines and levels for one or two columns, partial effects for more."""
    explanation, target = study.explanation, study.target
    if explanation.effects:
        figures = [
            figure(
                partial(plot_partial_effects, effect, target),
                f"Average prediction of {target} along {effect.name}",
            )
            for effect in explanation.effects
        ]
        used = len(study.model.preprocessor.columns)
        text = (
            "Average prediction when one column is set to each of its values in every row, the "
            "others as they are. The largest effect comes first"
        )
        more = f"; {used - len(figures)} smaller ones are not shown" * (used > len(figures))
        return f"<p>{esc(text + more)}.</p>{grid(figures)}{_unit(study)}"
    figures = [_line(part, target) for part in explanation.lines]
    if explanation.surface is not None:
        plane = explanation.surface
        what = "Likeliest class" if plane.classes else f"Predicted mean of {target}"
        figures.append(
            figure(
                lambda ax: plot_gate_regions(plane, "level", ax),
                f"{what} over {plane.names[0]} and {plane.names[1]}",
                f"{what}" + (", stronger where it is surer." if plane.classes else "."),
            )
        )
    return grid(figures) + _unit(study)


def _line(part: Any, target: str) -> str:
    held = ", ".join(f"{name} = {_short(value)}" for name, value in part.held.items())
    caption = f"The other column held at {held}; points are all rows." if held else ""
    if not part.classes and part.gate.shape[1] > 1:
        caption = f"{caption} Expert lines fade where the gate gives them little.".strip()
    return figure(
        lambda ax: plot_fit_lines(part, target, ax),
        f"Prediction of {target} along {part.name}",
        caption,
    )


def _short(value: Any) -> str:
    return number(value, 3) if isinstance(value, float) else str(value)


def _unit(study: TableStudy) -> str:
    units = {"exposure": "one unit of exposure", "trials": "one trial", "offset": "no offset"}
    given = [text for name, text in units.items() if name in study.model.inputs]
    return f'<p class="muted">Predictions are for {" and ".join(given)}.</p>' if given else ""


def check_figures(study: TableStudy) -> str:
    """Probability transform and residuals, or the calibration of classes."""
    explanation = study.explanation
    if explanation.calibration is not None:
        return _class_checks(study)
    residuals, pit = explanation.residuals, explanation.pit
    text = (
        "Where the model holds, the probability transform is uniform (flat bars) and the quantile "
        "residuals are standard normal. Kolmogorov-Smirnov test of uniformity: p = "
        f"{number(residuals.p_value, 2)}"  # type: ignore[union-attr]
        " (optimistic: the model was fitted to the same rows)."
    )
    if study.family in ("poisson", "binomial"):
        text += " Counts are spread by a seeded random draw inside their step."
    figures = [
        figure(
            lambda ax: plot_calibration(pit, ax),
            "Histogram of the probability transform",
            "Higher at both ends: the model is too sure of itself; higher in the middle: too "
            "cautious.",
        ),
        figure(
            lambda ax: plot_residuals(residuals, "qq", ax),
            "Normal QQ plot of the quantile residuals",
            "Inside the band: as a normal sample would vary.",
        ),
        worm_figure(residuals),
        figure(
            lambda ax: plot_residuals(residuals, "fitted", ax),
            "Quantile residuals against the predicted mean",
            "No pattern should remain; 95 % of the points belong inside the band.",
        ),
    ]
    return (
        "<h3>Does the law of the target hold?</h3>"
        f"<p>{esc(text)}</p>{grid(figures)}{_shown(study)}{further_checks(study)}"
    )


def _class_checks(study: TableStudy) -> str:
    calibration = study.explanation.calibration
    assert calibration is not None
    text = (
        f"On the rows of the fit: accuracy {number(calibration.accuracy, 3)}, log-loss "
        f"{number(calibration.log_loss, 3)}. Points on the diagonal mean that the predicted "
        "probabilities are as frequent as they say."
    )
    drawn = figure(
        lambda ax: plot_calibration(calibration, ax),
        "Observed class frequencies against predicted probabilities",
        "Bins of equal numbers of rows; bars are two standard errors under the model.",
    )
    names = [esc(name) for name in calibration.classes]
    rows = [
        [name, *[f"{count:.6g}" for count in counts]]
        for name, counts in zip(names, calibration.confusion, strict=True)
    ]
    confusion = table(["True class", *[f"as {name}" for name in names]], rows)
    return (
        f"<h3>Are the class probabilities right?</h3><p>{esc(text)}</p>{grid([drawn])}"
        f"<h3>Predicted against true classes</h3>{confusion}"
        f"{_shown(study)}{further_checks(study)}"
    )


def _shown(study: TableStudy) -> str:
    shown, rows = study.explanation.shown_rows, study.result.data["rows"]
    if shown == rows:
        return ""
    return f'<p class="muted">Drawn and computed on {shown:,} of {rows:,} rows.</p>'
