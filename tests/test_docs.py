"""Docstrings and pages: their examples run, public names are documented, the pages are complete."""

from __future__ import annotations

import doctest
import importlib
import inspect
import pkgutil
import re
from pathlib import Path

import numpy as np
import pytest

import mixexp

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs"
PUBLIC_PACKAGES = (
    "mixexp",
    "mixexp.datasets",
    "mixexp.selection",
    "mixexp.gates",
    "mixexp.experts",
    "mixexp.penalties",
    "mixexp.inference",
    "mixexp.explain",
    "mixexp.plotting",
    "mixexp.theory",
    "mixexp.distributed",
)
OPTIONS = doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS


def modules_with_examples() -> list[str]:
    """Names of all modules of the package whose text holds a prompt."""
    found = []
    for item in pkgutil.walk_packages(mixexp.__path__, "mixexp."):
        file = Path(mixexp.__path__[0]).parent / Path(*item.name.split("."))
        file = file / "__init__.py" if item.ispkg else file.with_suffix(".py")
        if ">>> " in file.read_text(encoding="utf-8"):
            found.append(item.name)
    return found


def pages_with_examples() -> list[Path]:
    pages = sorted([*DOCS.glob("*.rst"), *DOCS.glob("*.md")])
    return [page for page in pages if ">>> " in page.read_text("utf-8")]


@pytest.mark.parametrize("name", modules_with_examples())
def test_examples_in_docstrings(name) -> None:
    result = doctest.testmod(importlib.import_module(name), optionflags=OPTIONS)
    assert result.attempted > 0 and result.failed == 0


@pytest.mark.parametrize("page", pages_with_examples(), ids=lambda page: page.stem)
def test_examples_on_pages(page, tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    result = doctest.testfile(str(page), module_relative=False, optionflags=OPTIONS)
    assert result.attempted > 0 and result.failed == 0


def public_parts() -> list[tuple[str, object]]:
    """Every public class and function with the name under which it is imported."""
    found = []
    for package in PUBLIC_PACKAGES:
        module = importlib.import_module(package)
        for name in module.__all__:
            part = getattr(module, name)
            if inspect.isclass(part) or inspect.isfunction(part):
                found.append((f"{package}.{name}", part))
    return found


@pytest.mark.parametrize(
    ("name", "part"), public_parts(), ids=lambda value: getattr(value, "__name__", value)
)
def test_public_part_has_a_docstring(name, part) -> None:
    assert (part.__doc__ or "").strip(), name
    assert not part.__doc__.startswith(f"{part.__name__}("), "a generated signature is no docstring"


@pytest.mark.parametrize(
    "name",
    [
        "MoERegressor",
        "MoEClassifier",
        "GLoMERegressor",
        "BLoMERegressor",
        "ContextualMoERegressor",
        "SelectionStudy",
        "MoEPath",
        "LassoMoERegressorCV",
        "LassoMoEClassifierCV",
        "StabilitySelection",
        "AggregatedMoERegressor",
        "AggregatedMoEClassifier",
        "LocalFit",
    ],
)
def test_public_methods_have_docstrings(name) -> None:
    part = getattr(mixexp, name)
    missing = [
        key
        for key, value in inspect.getmembers(part, callable)
        if not key.startswith("_")
        and not key.startswith("set_")
        and (value.__module__ or "").startswith("mixexp")
        and not inspect.getdoc(value)
    ]
    assert missing == []


@pytest.mark.parametrize(
    "name",
    [
        "MoERegressor",
        "MoEClassifier",
        "GLoMERegressor",
        "BLoMERegressor",
        "ContextualMoERegressor",
        "GaussianGate",
        "MultivariateGaussianExpert",
        "SelectionStudy",
        "MoEPath",
        "LassoMoERegressorCV",
        "LassoMoEClassifierCV",
        "StabilitySelection",
        "EM",
        "L2",
    ],
)
def test_every_setting_is_described(name) -> None:
    part = getattr(mixexp, name)
    text = inspect.getdoc(part)
    settings = [key for key in inspect.signature(part).parameters]
    missing = [key for key in settings if not re.search(rf"^[\w, ]*\b{key}\b", text, re.MULTILINE)]
    assert missing == []


def test_page_of_the_design_names_every_part_of_the_package() -> None:
    text = (DOCS / "design.md").read_text(encoding="utf-8")
    parts = {path.stem for path in (ROOT / "mixexp").iterdir() if not path.name.startswith("__")}
    missing = {part for part in parts - {"py"} if part not in text}
    assert missing == set()


def test_every_page_is_in_the_table_of_contents() -> None:
    index = (DOCS / "index.rst").read_text(encoding="utf-8")
    pages = {page.stem for page in [*DOCS.glob("*.rst"), *DOCS.glob("*.md")]} - {"index"}
    assert all(re.search(rf"^   {page}$", index, re.MULTILINE) for page in pages)


@pytest.mark.parametrize("package", ["inference", "explain", "plotting", "selection", "theory"])
def test_every_public_name_has_a_row_of_the_reference(package) -> None:
    """Names of `mixexp` itself are listed by the template of its page."""
    text = (DOCS / "api.rst").read_text(encoding="utf-8")
    module = importlib.import_module(f"mixexp.{package}")
    rows = set(re.findall(r"^   (?:\w+\.)*(\w+)$", text, re.MULTILINE))
    names = {name for name in module.__all__ if callable(getattr(module, name))}
    assert names - rows - set(mixexp._PUBLIC) == set()


def test_formulas_of_the_criteria_are_those_of_the_page() -> None:
    """docs/choosing_k.rst: AIC, AICc, BIC and both forms of ICL."""
    from mixexp.em.summary import FitSummary
    from mixexp.selection import AIC, BIC, ICL, AICc

    fit = FitSummary(loglik=-50.0, n_free=4, n_units=30.0, entropy=2.5, hard_entropy=1.5)
    bic = 100 + 4 * np.log(30)
    wanted = {AIC(): 108, AICc(): 108 + 40 / 25, BIC(): bic, ICL(): bic + 5, ICL("hard"): bic + 3}
    for criterion, value in wanted.items():
        np.testing.assert_allclose(criterion.scores([fit]), [value])
