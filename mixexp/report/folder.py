"""The folder of a report: written beside its place and moved there when complete."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path

from mixexp.report.page import TableStudy, render
from mixexp.selection.study.result import FORMAT

PAGE, SUMMARY, MODEL = "report.html", "study.json", "model.mixexp"


class ReportError(ValueError):
    """A report that cannot be written where it was asked for; the message is one line."""


def check_folder(folder: str | Path, force: bool = False) -> Path:
    """The folder, if a report may be written there.

    A new folder needs an existing, writable parent. An existing one must be empty or hold an
    earlier report, or be forced; files that are not the report's own are never touched.

    Raises
    ------
    ReportError
        Otherwise.
    """
    place = Path(folder)
    parent = place.resolve().parent
    if not parent.is_dir():
        raise ReportError(f"cannot write {str(place)!r}: the folder {str(parent)!r} does not exist")
    if place.exists() and not place.is_dir():
        raise ReportError(f"cannot write {str(place)!r}: it is a file, not a folder")
    if not os.access(parent, os.W_OK | os.X_OK) or (
        place.is_dir() and not os.access(place, os.W_OK | os.X_OK)
    ):
        raise ReportError(f"cannot write {str(place)!r}: no permission")
    if place.is_dir() and any(place.iterdir()) and not force and not is_report(place):
        raise ReportError(
            f"{str(place)!r} exists and is no report of mixexp; choose another --out, or --force "
            "to write into it"
        )
    return place


def is_report(folder: Path) -> bool:
    """Whether a folder holds a report of an earlier study."""
    try:
        content = json.loads((folder / SUMMARY).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return isinstance(content, dict) and content.get("format") == FORMAT


def write_report(folder: str | Path, study: TableStudy, force: bool = False) -> Path:
    """Write page, summary and model; all of them or none.

    Returns
    -------
    Path
        The page.

    Raises
    ------
    ReportError
        If the folder cannot be written; nothing is left behind then.
    """
    place = check_folder(folder, force)
    page, summary = render(study), study.to_json()
    parent = place.resolve().parent
    try:
        beside = Path(tempfile.mkdtemp(prefix=f".{place.resolve().name}.", dir=parent))
    except OSError as error:
        raise ReportError(f"cannot write {str(place)!r}: {error.strerror}") from None
    try:
        _fill(beside, {PAGE: page, SUMMARY: summary}, study)
        _move(beside, place)
    except OSError as error:
        raise ReportError(f"cannot write {str(place)!r}: {error.strerror or error}") from None
    finally:
        shutil.rmtree(beside, ignore_errors=True)
    return place / PAGE


def _fill(beside: Path, texts: Mapping[str, str], study: TableStudy) -> None:
    for name, text in texts.items():
        (beside / name).write_text(text, encoding="utf-8", newline="\n")
    study.model.save(beside / MODEL)


def _move(beside: Path, place: Path) -> None:
    """A new folder appears in one step; in an existing one the report's files are replaced."""
    if not place.exists():
        mask = os.umask(0)
        os.umask(mask)
        beside.chmod(0o777 & ~mask)
        beside.rename(place)
        return
    for name in (MODEL, SUMMARY, PAGE):
        os.replace(beside / name, place / name)
