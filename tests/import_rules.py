"""Who may import whom inside mixexp: the picture of docs/design.md as a table, and its checker.

A file is read, never imported, so that imports inside functions and under TYPE_CHECKING count too.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

# The lowest layer first. A part may import itself and every part of the layers below it.
LAYERS: tuple[tuple[str, ...], ...] = (
    ("kernels",),
    ("scaling", "sources"),
    ("solvers", "penalties"),
    ("gates", "experts"),
    ("em",),
    ("inference",),
    ("estimators",),
    ("tables",),
    ("selection", "distributed", "explain"),
    ("theory",),
    ("formula",),
    ("plotting",),
    ("report",),
    ("cli",),
)
# Parts beside the layers, each with all it may import ...
BESIDE: dict[str, frozenset[str]] = {
    "_component": frozenset(),
    "_part": frozenset({"_component"}),
    "_persistence": frozenset({"_component"}),
    "_validation": frozenset({"_component", "em", "sources"}),
    "datasets": frozenset(),
    "neural": frozenset({"_component", "_persistence", "_validation", "datasets"}),
}
# ... and, where that is not every part, with all that may import it.
IMPORTED_BY: dict[str, frozenset[str]] = {
    "_validation": frozenset({"estimators", "distributed", "formula", "cli", "neural"}),
    "datasets": frozenset({"theory", "report", "cli", "neural"}),
    "neural": frozenset(),
}
# The package itself re-exports what is public and stands above everything. Only its version may be
# read from below.
ROOT = "__init__"


class Import(NamedTuple):
    """One imported name: the full dotted target, its line, and whether it is run at import time."""

    target: str
    line: int
    at_top: bool


def allowed_parts(part: str) -> frozenset[str]:
    """All parts that ``part`` may import, itself left out."""
    if part in BESIDE:
        return BESIDE[part]
    rank = next(i for i, layer in enumerate(LAYERS) if part in layer)
    below = {name for layer in LAYERS[:rank] for name in layer}
    if part != "kernels":  # kernels are arrays in, arrays out: no mixexp import at all
        below |= BESIDE.keys()
    return frozenset(name for name in below if part in IMPORTED_BY.get(name, {part}))


def module_name(package: Path, path: Path) -> str:
    """Dotted name of the module in ``path``; a package's own file keeps ``__init__``."""
    return ".".join((package.name, *path.relative_to(package).with_suffix("").parts))


def imports_of(package: Path, path: Path) -> Iterator[Import]:
    """Every import of the file, relative ones resolved, also by ``import_module("a literal")``."""
    tree = ast.parse(path.read_text(encoding="utf-8"), filename=str(path))
    inside_functions = {
        id(child)
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
        for child in ast.walk(node)
    }
    parents = module_name(package, path).split(".")[:-1]
    for node in ast.walk(tree):
        at_top = id(node) not in inside_functions
        if isinstance(node, ast.Import):
            yield from (Import(alias.name, node.lineno, at_top) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = parents[: len(parents) - node.level + 1] if node.level else []
            base = base + (node.module.split(".") if node.module else [])
            for alias in node.names:
                yield Import(".".join([*base, alias.name]), node.lineno, at_top)
        elif isinstance(node, ast.Call) and node.args:
            called = node.func
            name = called.attr if isinstance(called, ast.Attribute) else getattr(called, "id", "")
            first = node.args[0]
            if name in {"import_module", "__import__"} and isinstance(first, ast.Constant):
                yield Import(str(first.value), node.lineno, at_top)


def part_of(package: Path, target: str) -> str:
    """The part of the package that a dotted target belongs to."""
    below = target.split(".")[1:]
    if below and ((package / below[0]).is_dir() or (package / f"{below[0]}.py").is_file()):
        return below[0]
    return ROOT


def known_parts() -> frozenset[str]:
    """All names in the table."""
    return frozenset(name for layer in LAYERS for name in layer) | BESIDE.keys()


def violations(package: Path) -> list[str]:
    """One sentence for every import in the package that the picture forbids."""
    found = []
    for path in sorted(package.rglob("*.py")):
        part = path.relative_to(package).with_suffix("").parts[0]
        if part == ROOT or part == "__main__":
            continue
        where = path.relative_to(package.parent)
        if part not in known_parts():
            found.append(f"{where}: part {part!r} has no place in the table of import_rules.py")
            continue
        for item in imports_of(package, path):
            complaint = _complaint(package, part, item)
            if complaint:
                found.append(f"{where}:{item.line}: {complaint}")
    return found


def _complaint(package: Path, part: str, item: Import) -> str | None:
    """Why ``part`` may not hold this import, or None where it may."""
    top = item.target.split(".")[0]
    if top != package.name:
        return _outside_complaint(part, top, item)
    target = part_of(package, item.target)
    if target == ROOT:
        if item.target == f"{package.name}.__version__" and part != "kernels":
            return None
        return f"{part} imports {item.target} from the top of the package: name the part it is in"
    if target != part and target not in allowed_parts(part):
        return f"{part} may not import {target}"
    private = any(name.startswith("_") for name in item.target.split(".")[2:])
    if part in {"plotting", "report"} and target == "estimators" and private:
        return f"{part} takes results, never estimators' privates ({item.target})"
    return None


def _outside_complaint(part: str, top: str, item: Import) -> str | None:
    """The same for packages other than mixexp."""
    if top == "torch" and part != "neural":
        return "only neural imports torch"
    if part == "datasets" and top not in sys.stdlib_module_names and top != "numpy":
        if top != "pandas" or item.at_top:
            return f"datasets needs numpy alone (pandas only inside a function); got {top}"
    return None
