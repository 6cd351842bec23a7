"""The table of ratios and its JSON."""

from __future__ import annotations

import json
import sys

import numpy as np

from benchmarks import __main__ as benchmarks
from benchmarks.timing import Line


def test_results_that_numpy_computed_are_saved(monkeypatch, tmp_path):
    lines = [
        Line("own", "a ratio", "float64", np.float64(1.5), "<= 2"),
        Line("own", "another", "float32", np.float32(0.5), ">= 1"),
        Line("own", "a count", "int64", np.int64(3)),
    ]
    monkeypatch.setattr(benchmarks, "SECTIONS", {"own": lambda quick: lines})
    monkeypatch.setattr(benchmarks, "RESULTS", tmp_path)
    monkeypatch.setattr(sys, "argv", ["benchmarks"])
    benchmarks.main()
    (file,) = tmp_path.glob("*.json")
    saved = json.loads(file.read_text())["lines"]
    assert [line["value"] for line in saved] == [1.5, 0.5, 3]
    assert [line["meets"] for line in saved] == [True, False, None]
