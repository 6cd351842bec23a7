"""The table of papers names what exists, and every file of tests."""

from __future__ import annotations

from pathlib import Path

import mixexp.neural

from .comparisons import PAIRS
from .learning import Languages, learn
from .papers import PAPERS


def test_every_file_and_every_name_is_there() -> None:
    files = {file.name for file in Path(__file__).parent.glob("test_*.py")} - {"test_papers.py"}
    assert {paper.test for paper in PAPERS} == files
    names = {name for paper in PAPERS for name in paper.names.split(", ")}
    assert names <= set(mixexp.neural.__all__)


def test_every_comparison_can_be_made() -> None:
    for first, second, *world in PAIRS.values():
        make_world = world[0] if world else Languages
        for make, penalty in (first, second):
            learn(make, make_world(), 0, n_steps=1, n_each=2, penalty=penalty)
