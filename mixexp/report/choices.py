"""What every criterion chooses, and figures of the ways that learn from the whole collection."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mixexp.plotting import plot_dendrogram, plot_slope
from mixexp.report.figures import figure, grid
from mixexp.report.html import esc, table

if TYPE_CHECKING:
    from mixexp.report.page import TableStudy

MERGED = {
    "measure": "Experts in excess merge at little height (dendrogram of mixing measures).",
    "entropy": "Experts merge where that lowers the entropy of the responsibilities most.",
}


def choices(study: TableStudy) -> str:
    """The choices of all criteria, the slope's plateau and the dendrogram of merged experts."""
    found = study.result.choices()
    rows = [
        [esc(row.title), esc(row.label), esc(row.runner_up or "")] for row in found.itertuples()
    ]
    figures = []
    if "slope" in set(found["criterion"]):
        figures += _slope(study.result.slope())
    merging = study.merging
    if merging is not None:
        rows.append(["Merging experts", esc(f"K = {merging.n_experts}"), ""])
        figures.append(
            figure(
                lambda ax: plot_dendrogram(merging, ax),
                f"The {merging.counts[0]} experts of the largest fit, merged one by one",
                MERGED[merging.method],
            )
        )
    text = (
        "All read the same fits. They ask different questions, so they need not agree; those that "
        "learn from the whole collection are shown where it is large enough."
    )
    return (
        f"<h3>What each criterion chooses</h3><p>{esc(text)}</p>"
        + table(["Criterion", "Choice", "Next"], rows, text=[1, 2])
        + grid(figures)
    )


def _slope(found: Any) -> list[str]:
    return [
        figure(
            lambda ax: plot_slope(found, "line", ax),
            "Log-likelihood per row against the penalty, and the line that decides",
            "The slope heuristic takes twice the slope of the largest models as its penalty.",
        ),
        figure(
            lambda ax: plot_slope(found, "plateau", ax),
            "Slopes by the number of models in the regression",
            "A long plateau of equal choices makes the slope trustworthy.",
        ),
    ]
