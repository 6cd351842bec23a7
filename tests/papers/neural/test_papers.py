"""The table of papers names what exists, and every file of tests."""

from __future__ import annotations

from pathlib import Path

import mixexp.neural

from .papers import PAPERS


def test_every_file_and_every_name_is_there() -> None:
    files = {file.name for file in Path(__file__).parent.glob("test_*.py")} - {"test_papers.py"}
    assert {paper.test for paper in PAPERS} == files
    names = {name for paper in PAPERS for name in paper.names.split(", ")}
    assert names <= set(mixexp.neural.__all__)
