"""The scripts of the gallery run, with every warning an error."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
SLOW = {
    "geometric_expert",
    "plot_choosing_k",
    "plot_classification",
    "plot_divergence_decay",
    "plot_ethanol_regression",
    "plot_lasso_mixture",
    "plot_paths",
    "plot_rates",
    "plot_truncated_claims",
}


def examples() -> list:
    """All scripts; those that take longer are marked."""
    found = sorted((ROOT / "examples").glob("*.py"))
    marks = {file: [pytest.mark.slow] if file.stem in SLOW else [] for file in found}
    return [pytest.param(file, id=file.stem, marks=marks[file]) for file in found]


def run(file: Path, folder: Path, *arguments: str) -> None:
    """Run a script in a process of its own, without a screen."""
    path = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    environment = os.environ | {"MPLBACKEND": "Agg", "PYTHONPATH": path}
    # with Agg plt.show() says that nothing is shown
    quiet = ["-W", "error", "-W", "ignore:FigureCanvasAgg is non-interactive:UserWarning"]
    command = [sys.executable, *quiet, str(file), *arguments]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("file", examples())
def test_example_runs(file, tmp_path) -> None:
    run(file, tmp_path)


@pytest.mark.slow
def test_picture_of_the_readme_can_be_made(tmp_path) -> None:
    run(ROOT / "docs" / "make_picture.py", tmp_path, str(tmp_path / "picture.png"))
    assert (tmp_path / "picture.png").stat().st_size > 10_000
