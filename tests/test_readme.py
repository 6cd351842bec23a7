"""Every snippet of the README runs: Python blocks as they stand, `mixexp` commands in a folder."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

README = (Path(__file__).resolve().parents[1] / "README.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    """The fenced blocks of that language."""
    return re.findall(rf"^```{language}\n(.*?)^```", README, flags=re.DOTALL | re.MULTILINE)


@pytest.mark.parametrize("code", blocks("python"), ids=lambda code: code.splitlines()[0])
def test_python_block_runs(code, tmp_path, monkeypatch, capsys) -> None:
    monkeypatch.chdir(tmp_path)
    exec(compile(code, "README.md", "exec"), {})
    assert capsys.readouterr().out.strip()


def _commands(folder: Path, extra: dict[str, list[str]]) -> None:
    """Run the README's commands there; ``extra`` adds arguments by subcommand."""
    rng = np.random.default_rng(0)
    x = rng.uniform(-1, 1, 80)
    y = np.where(x < 0, -2 * x, 1 + x) + 0.1 * rng.standard_normal(80)
    pd.DataFrame({"x": x, "y": y}).to_csv(folder / "data.csv", index=False)
    pd.DataFrame({"x": [-0.5, 0.5]}).to_csv(folder / "new.csv", index=False)
    lines = [line for block in blocks("sh") for line in block.splitlines()]
    assert [shlex.split(line)[:2] for line in lines] == [["mixexp", "study"], ["mixexp", "predict"]]
    for line in lines:
        words = shlex.split(line)[1:]
        command = [sys.executable, "-m", "mixexp.cli", *words, *extra.get(words[0], [])]
        run = subprocess.run(command, cwd=folder, capture_output=True, text=True)
        assert run.returncode == 0, run.stderr
    assert len(pd.read_csv(folder / "predictions.csv")) == 2
    assert list((folder / "report").glob("*.html"))
    assert (folder / "report" / "study.json").is_file()


def test_commands_run_on_few_experts(tmp_path) -> None:
    _commands(tmp_path, {"study": ["--experts", "1-2", "--folds", "0", "--jobs", "1"]})


@pytest.mark.slow
def test_commands_run_as_they_stand(tmp_path) -> None:
    _commands(tmp_path, {})


def test_files_that_the_readme_names_exist() -> None:
    root = Path(__file__).resolve().parents[1]
    for name in re.findall(r"\]\((?!https?:)([^)]+)\)", README):
        assert (root / name).is_file(), name
