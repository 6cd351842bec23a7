"""The facts of packaging that stand in more than one file agree."""

from __future__ import annotations

import importlib.metadata
import re
import tomllib
from pathlib import Path

from packaging.requirements import Requirement
from packaging.version import Version

ROOT = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def _pins(file: str) -> dict[str, Version]:
    lines = (ROOT / file).read_text(encoding="utf-8").splitlines()
    pairs = [line.split("==") for line in lines if line and not line.startswith("#")]
    return {name: Version(version) for name, version in pairs}


def _bounds(requirements: list[str]) -> dict[str, Version]:
    parsed = [Requirement(text) for text in requirements]
    return {one.name: Version(next(iter(one.specifier)).version) for one in parsed}


def test_lower_constraints_are_the_bounds() -> None:
    bounds = _bounds(PROJECT["dependencies"])
    pins = _pins("constraints-lower.txt")
    assert {name: pins.get(name) for name in bounds} == bounds


def test_pinned_versions_satisfy_every_bound() -> None:
    pins = _pins("constraints.txt")
    groups = [PROJECT["dependencies"], *PROJECT["optional-dependencies"].values()]
    bounds = _bounds([text for group in groups for text in group])
    wrong = [name for name, bound in bounds.items() if name not in pins or pins[name] < bound]
    assert wrong == []


def test_one_version() -> None:
    import mixexp

    citation = (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    cited = re.search(r"^version: (.+)$", citation, flags=re.MULTILINE)
    assert cited is not None
    assert PROJECT["version"] == cited[1] == mixexp.__version__
    assert PROJECT["version"] == importlib.metadata.version("mixexp")


def test_changelog_has_the_version() -> None:
    changelog = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    assert f"## [{PROJECT['version']}]" in changelog
