"""The sections of the page; each turns results into HTML and computes nothing."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from mixexp.plotting import plot_criteria, plot_gate_regions
from mixexp.report.choices import choices
from mixexp.report.figures import figure, grid
from mixexp.report.html import bullets, esc, frame, number, table
from mixexp.report.pictures import check_figures, prediction_figures
from mixexp.selection.criteria.information import AIC, BIC, CRITERIA, ICL

if TYPE_CHECKING:
    from mixexp.report.page import TableStudy

FORMULAS = {
    "gaussian": "a normal distribution with its own line and its own standard deviation",
    "poisson": "a Poisson distribution whose mean is the exponential of its own line",
    "gamma": "a gamma distribution whose mean is the exponential of its own line",
    "binomial": "a binomial distribution whose log-odds follow its own line",
    "multinomial": "a softmax regression of its own",
}
GATE_TEXTS = {
    "softmax": "Centred over the experts: a larger value pulls rows with a larger column towards "
    "that expert.",
    "gaussian": "Weights, centres and spreads of the experts' regions; they are part of a joint "
    "model of all columns.",
    "constant": "The logarithms of the experts' shares, centred.",
}
GATES = {
    "softmax": "a softmax of its own lines",
    "gaussian": "which holds a normal distribution of the columns for every expert",
    "constant": "which is the same for all rows",
}
FAMILY_NAMES = {name: name for name in FORMULAS} | {"gaussian": "Gaussian", "poisson": "Poisson"}


def comparison(study: TableStudy) -> str:
    """Criteria table and curves, the baseline, and what the criteria mean."""
    result = study.result
    curves = [
        figure(
            lambda ax: plot_criteria(result, "information", ax),
            "AIC, BIC and ICL against the number of experts",
            "Smaller is better; open points are degenerate fits, the ring is the chosen one.",
        )
    ]
    if "cv_loglik" in result.table:
        curves.append(
            figure(
                lambda ax: plot_criteria(result, "cv", ax),
                "Cross-validated log-likelihood per row against the number of experts",
                f"Larger is better; mean and standard error over the rows, "
                f"{result.settings['folds']} folds.",
            )
        )
    meaning = [AIC.meaning, BIC.meaning, ICL.meaning]
    if result.criterion in CRITERIA and result.criterion not in BUILT_IN:
        meaning.append(CRITERIA[result.criterion].meaning)
    if "cv_loglik" in result.table:
        meaning.append(
            "Cross-validation fits the model again without each fold in turn and scores the rows "
            "left out: the mean log-density per row. Its standard error treats rows as "
            "independent; 'behind the best' is paired over the rows, so its error is smaller."
        )
    return (
        _criteria_table(result)
        + f'<p class="muted">{esc(TABLE_TEXT + CV_TEXT * ("cv_loglik" in result.table))}</p>'
        + grid(curves)
        + choices(study)
        + _baseline(study)
        + _notes(result.notes)
        + "<h3>What the criteria mean</h3>"
        + bullets(meaning)
    )


def _notes(notes: tuple[str, ...]) -> str:
    return "<h3>Notes on the fits</h3>" + bullets(notes) if notes else ""


def _criteria_table(result: Any) -> str:
    lines, scored = result.table, "cv_loglik" in result.table
    best = result.winners()
    names = ["aic", "bic", "icl"] + [n for n in (result.criterion,) if n not in BUILT_IN]
    head = ["Model", "Log-lik.", "Params", *[_label(n) for n in names]]
    head += ["CV per row", "Behind best"] if scored else []
    head += ["Weight", "Optima (hits)", "Status"]
    rows, classes = [], []
    for i, row in lines.iterrows():
        size = _bold(f"{row['n_free']:.0f}", False, row["n_free"])
        cells = [esc(row["label"]).replace("K = ", "K&nbsp;=&nbsp;"), number(row["loglik"]), size]
        cells += [_bold(_score(n, row[n]), best.get(n) == i, row[n]) for n in names]
        if scored:
            cells.append(_bold(_pm(row["cv_loglik"], row["cv_se"]), best.get("cv") == i, 0.0))
            cells.append(_pm(row["cv_gap"], row["cv_gap_se"]) if row["cv_gap"] != 0 else "0")
        cells += [
            _weight(row["weight"]),
            f"{row['optima']} ({row['hits']})", esc(_status(row)),
        ]  # fmt: skip
        rows.append(cells)
        off = not row["in_grid"] or not row["regular"]
        classes.append("chosen" if row["chosen"] else "off" if off else "")
    return table(head, rows, classes=classes, text=[len(head) - 1])


TABLE_TEXT = (
    "Blue: the best of each column; shaded: the chosen fit. Weight: how the deciding criterion "
    "shares its belief. Optima: distinct maxima that the starts met; hits: the starts that met "
    "the best one."
)
CV_TEXT = " CV per row: cross-validated log-likelihood with its standard error."
BUILT_IN = ("aic", "bic", "icl", "cv")


def _label(name: str) -> str:
    known = CRITERIA.get(name)
    return esc(getattr(known, "label", name.upper()))


def _score(name: str, value: float) -> str:
    deviance = getattr(CRITERIA.get(name), "deviance", True)
    return f"{value:.1f}" if deviance else f"{value:.3g}"


def _weight(value: float) -> str:
    if not np.isfinite(value):
        return "\u2013"
    return number(value, 2) if value >= 5e-4 else "&lt;0.001"


def _bold(text: str, best: bool, value: Any) -> str:
    if not np.isfinite(value):
        return "\u2013"
    text = text.replace("-", "\u2212")
    return f"<b>{text}</b>" if best else text


def _pm(value: float, error: float) -> str:
    if not np.isfinite(value):
        return "\u2013"
    return f"{number(value)} \u00b1 {number(error, 2)}"


def _status(row: Any) -> str:
    words = row["status"].replace("_", " ").lower()
    return words if row["in_grid"] else f"{words}, baseline"


def _baseline(study: TableStudy) -> str:
    result, line = study.result, study.result.baseline
    if line is None or line == result.chosen:
        return ""
    best, single = result.table.loc[result.chosen], result.table.loc[line]
    text = (
        f"Beside it, a single expert (an ordinary {FAMILY_NAMES[study.family]} regression) has a "
        f"log-likelihood of {number(single['loglik'])} with {single['n_free']:.0f} parameters, "
        f"against {number(best['loglik'])} with {best['n_free']:.0f}."
    )
    gap, error = result.paired_gap(line)
    if np.isfinite(gap):
        side = "better" if gap >= 0 else "worse"
        text += (
            f" On rows left out the mixture is {number(abs(gap), 3)} {side} per row (paired "
            f"standard error {number(error, 2)})."
        )
    return f"<h3>Against a single expert</h3><p>{esc(text)}</p>"


def chosen_model(study: TableStudy) -> str:
    """The model in words, gate and experts by name, and where each expert works."""
    explanation, several = study.explanation, len(study.explanation.sizes) > 1
    formula = FORMULAS[study.family]
    if study.degree > 1:
        formula = formula.replace("line", f"polynomial of degree {study.degree}")
    intro = (
        f"{len(explanation.sizes)} experts, each {formula}; the gate, {GATES[study.gate]}, gives "
        "each row its mixture of them."
        if several
        else f"One expert: {_single(formula)}; no gate."
    )
    parts = [f"<p>{esc(intro)}</p>", "<h3>Experts</h3>", frame(explanation.sizes)]
    if isinstance(explanation.experts, dict):
        for title, coefficients in explanation.experts.items():
            parts += [f"<h3>Coefficients of {esc(title)}, by class</h3>", frame(coefficients)]
        parts.append('<p class="muted">Centred over the classes.</p>')
    else:
        parts += ["<h3>Coefficients of the experts</h3>", frame(explanation.experts)]
    if several:
        parts += [
            "<h3>Coefficients of the gate</h3>",
            frame(explanation.gate),
            f'<p class="muted">{GATE_TEXTS[study.gate]}</p>',
            _regions(study),
        ]
    return "".join(parts)


def _single(formula: str) -> str:
    return formula.replace(" of its own", "").replace("its own", "one")


def _regions(study: TableStudy) -> str:
    explanation, figures = study.explanation, []
    if explanation.surface is not None:
        plane = explanation.surface
        figures.append(
            figure(
                lambda ax: plot_gate_regions(plane, "gate", ax),
                f"Gate regions over {plane.names[0]} and {plane.names[1]}",
                "Background: the gate; points: rows, in the colour of the expert most responsible.",
            )
        )
    else:
        for part in explanation.lines or explanation.gate_effects:
            figures.append(
                figure(
                    partial(plot_gate_regions, part, "gate"),
                    f"Gate probabilities of the experts along {part.name}",
                    "" if explanation.lines else "Average over the rows.",
                )
            )
    return "<h3>Where each expert works</h3>" + grid(figures) if figures else ""


def predictions(study: TableStudy) -> str:
    """Fitted lines, levels or partial effects."""
    return prediction_figures(study)


def checks(study: TableStudy) -> str:
    """Calibration and residuals."""
    return check_figures(study)


def starts(study: TableStudy) -> str:
    """The distinct optima that the starts of the chosen fit met."""
    found = study.model.estimator.starts_
    names = [c for c in ("loglik", "hits", "smallest_expert", "regular", "best") if c in found]
    titles = {
        "loglik": "Log-likelihood", "hits": "Starts that ended here", "regular": "Regular",
        "smallest_expert": "Smallest expert (rows)", "best": "Kept",
    }  # fmt: skip
    shown = found.head(15)
    rows = [
        [str(i + 1), *[number(shown[name].iloc[i], 6) for name in names]] for i in range(len(shown))
    ]
    text = (
        "A mixture's likelihood has several maxima. These are the distinct ones that the starts of "
        "the chosen fit met; irregular ones (an expert on a handful of rows) are never kept while "
        "a regular one exists. In the study each fit also started from the fit with one expert "
        "less."
    )
    more = f'<p class="muted">{len(found) - 15} more.</p>' if len(found) > 15 else ""
    return f"<p>{esc(text)}</p>" + table(["Optimum", *[titles[n] for n in names]], rows) + more


def data(study: TableStudy) -> str:
    """What was read and what was done to it."""
    description = study.result.data
    text = (
        f"{study.source}: {description['rows']:,} rows used, {description['columns']} columns in "
        f"the model. Columns are standardised inside a fit; coefficients are on the columns' own "
        "scale."
    )
    names = study.model.preprocessor.feature_names
    listed = ", ".join(names[:60]) + (f" and {len(names) - 60} more" if len(names) > 60 else "")
    return f"<p>{esc(text)}</p>{bullets(study.notes)}<p>Columns of the model: {esc(listed)}.</p>"


def redo(study: TableStudy) -> str:
    """The command, the versions and the seed."""
    rows = [[esc(name), esc(version)] for name, version in study.versions.items()]
    rows.append(["seed", esc(study.seed)])
    digest = study.data.get("sha256")
    if digest:
        rows.append(["SHA-256 of the data", f"<code>{esc(digest)}</code>"])
    return (
        f"<pre><code>{esc(study.command)}</code></pre>"
        "<p>Predictions for a new table with the same columns:</p>"
        "<pre><code>mixexp predict model.mixexp new.csv --out pred.csv</code></pre>"
        + table(["Software", "Version"], rows, text=[1])
    )
