"""The page of a report, section by section."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from mixexp.explain.explanation import Explanation
from mixexp.report import sections
from mixexp.report.html import esc, facts, page
from mixexp.report.precision import precision
from mixexp.selection.merging.path import MergePath
from mixexp.selection.study.result import StudyResult
from mixexp.tables.model import TableModel


@dataclass(frozen=True)
class TableStudy:
    """A study of a table, as the report shows it.

    Attributes
    ----------
    result : StudyResult
    model : TableModel
        The chosen model with its preprocessing.
    explanation : Explanation
    merging : MergePath or None
        The experts of the largest fit, merged one by one.
    target : str
        Name of the target.
    source : str
        Name of the data file.
    family, gate : str
        Names of the family and of the gate of the chosen model.
    degree : int
        Degree of its experts.
    notes : tuple of str
        What was done to the table.
    command : str
        The command that makes the report again.
    versions : mapping of str to str
    seed : int or None
    data : mapping
        Fingerprint of the file.
    rows : sequence of int
        Row of the file, counted from one without the header, of every row that was used.
    """

    result: StudyResult
    model: TableModel
    explanation: Explanation
    merging: MergePath | None
    target: str
    source: str
    family: str
    gate: str
    degree: int
    notes: tuple[str, ...]
    command: str
    versions: Mapping[str, str]
    seed: int | None = None
    data: Mapping[str, Any] = field(default_factory=dict)
    rows: Sequence[int] = ()

    def to_json(self) -> str:
        """The machine-readable summary."""
        return self.result.to_json(
            target=self.target,
            source=self.source,
            family=self.family,
            data_notes=list(self.notes),
            command=self.command,
            versions=dict(self.versions),
            seed=self.seed,
            file=dict(self.data),
        )


SECTIONS = (
    ("comparison", "Comparison", sections.comparison),
    ("model", "The chosen model", sections.chosen_model),
    ("precision", "Precision", precision),
    ("effects", "What it predicts", sections.predictions),
    ("checks", "Checks", sections.checks),
    ("starts", "Starts", sections.starts),
    ("data", "Data and preprocessing", sections.data),
    ("redo", "Make it again", sections.redo),
)


def render(study: TableStudy) -> str:
    """The whole page as one self-contained HTML text."""
    links = " ".join(f'<a href="#{key}">{esc(title)}</a>' for key, title, _ in SECTIONS)
    parts = [
        f'<p class="kicker">mixexp {esc(study.versions.get("mixexp", ""))} &middot; '
        f"mixture-of-experts study of {esc(study.source)}</p>",
        f"<h1>What explains {esc(study.target)}?</h1>",
        f'<p class="headline">{esc(study.result.headline())}</p>',
        _warning(study),
        _facts(study),
        f"<nav>{links}</nav>",
    ]
    for key, title, write in SECTIONS:
        parts.append(f'<section id="{key}"><h2>{esc(title)}</h2>{write(study)}</section>')
    return page(f"mixexp: {study.target}", "\n".join(part for part in parts if part))


def _warning(study: TableStudy) -> str:
    row = study.result.table.loc[study.result.chosen]
    if row["regular"] and row["status"] == "CONVERGED":
        return ""
    return f'<p class="warning">{esc(row["message"])}</p>'


def _facts(study: TableStudy) -> str:
    row, data = study.result.table.loc[study.result.chosen], study.result.data
    pairs = [
        ("Rows", f"{data['rows']:,}"),
        ("Model columns", str(data["columns"])),
        ("Family", sections.FAMILY_NAMES[study.family]),
        ("Experts", str(row["n_experts"])),
        ("Parameters", f"{row['n_free']:.0f}"),
        ("Criterion", study.result.criterion_title),
    ]
    if "groups" in data:
        pairs.insert(1, ("Groups", f"{data['groups']:,}"))
    if data["total_weight"] != data["rows"]:
        pairs.insert(1, ("Sum of weights", f"{data['total_weight']:g}"))
    return facts(pairs)
