"""The import picture, what `import mixexp` loads, and that what is public is documented."""

from __future__ import annotations

import importlib
import json
import statistics
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

from tests.import_rules import violations

PACKAGE = Path(__file__).resolve().parents[1] / "mixexp"


def test_import_picture_holds() -> None:
    found = violations(PACKAGE)
    assert not found, "\n".join(found)


def _tree(folder: Path, files: dict[str, str]) -> Path:
    """A package ``mixexp`` below ``folder`` with these files and a stub of the other parts."""
    package = folder / "mixexp"
    stubs = {f"{part}/__init__.py": "" for part in ("kernels", "gates", "experts", "em", "neural")}
    stubs |= {f"{part}/__init__.py": "" for part in ("estimators", "selection", "datasets")}
    stubs |= {"__init__.py": "", "_validation.py": "", "_component.py": "", "penalties.py": ""}
    stubs |= {"report/__init__.py": "", "cli.py": ""}
    for name, text in (stubs | files).items():
        path = package / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(text), encoding="utf-8")
    return package


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("em/driver.py", "from ..gates import softmax\nimport mixexp.penalties\n"),
        ("em/driver.py", "from . import model\nfrom .model import MoEModel\n"),
        ("gates/softmax.py", "from .._component import Component\nfrom ..kernels import cpu\n"),
        ("estimators/_base.py", "from mixexp import __version__, _validation, em\n"),
        ("cli.py", "from mixexp.report import write\nfrom mixexp import datasets\n"),
        ("neural/router.py", "import torch\nfrom mixexp._component import Component\n"),
        ("datasets/_real.py", "import csv\ndef frame():\n    import pandas\n"),
        ("report/page.py", "from mixexp.estimators import MoERegressor\n"),
        ("__init__.py", "from .estimators import MoERegressor\n"),
    ],
)
def test_allowed_imports_pass(tmp_path: Path, file: str, text: str) -> None:
    assert violations(_tree(tmp_path, {file: text})) == []


@pytest.mark.parametrize(
    ("file", "text", "says"),
    [
        ("kernels/cpu.py", "from .._component import Component", "kernels may not import"),
        ("gates/softmax.py", "from ..em.model import MoEModel", "gates may not import em"),
        ("gates/softmax.py", "from mixexp import experts", "gates may not import experts"),
        ("gates/softmax.py", "def f():\n    from ..estimators import a", "import estimators"),
        ("em/driver.py", "import mixexp.selection.study.study as s", "em may not import selection"),
        ("em/driver.py", "from importlib import import_module\nimport_module('mixexp.cli')", "cli"),
        ("em/engines/gpu.py", "from ...estimators import a", "em may not import estimators"),
        ("em/driver.py", "from mixexp import MoERegressor", "from the top of the package"),
        ("em/driver.py", "from .._validation import check", "em may not import _validation"),
        ("selection/study.py", "from mixexp._validation import check", "import _validation"),
        ("_component.py", "from . import gates", "_component may not import gates"),
        ("em/__init__.py", "from ..neural import layer", "em may not import neural"),
        ("cli.py", "from mixexp import neural", "cli may not import neural"),
        ("em/engines/gpu.py", "def f():\n    import torch", "only neural imports torch"),
        ("neural/router.py", "from ..kernels import cpu", "neural may not import kernels"),
        ("datasets/_real.py", "import pandas", "datasets needs numpy alone"),
        (
            "datasets/_real.py",
            "def f():\n    from scipy import stats",
            "datasets needs numpy alone",
        ),
        ("report/page.py", "from mixexp.estimators._base import fit", "never estimators' privates"),
        ("strays.py", "import numpy", "has no place in the table"),
    ],
)
def test_forbidden_imports_are_named(tmp_path: Path, file: str, text: str, says: str) -> None:
    found = violations(_tree(tmp_path, {file: text}))
    assert len(found) == 1
    assert file in found[0]
    assert says in found[0]


# scikit-learn itself loads pandas (hence pyarrow) and rich where they are installed. So two things
# are looked at: what mixexp's own modules ask for, and what is loaded on top of those two.
_LOADED_BY_IMPORT = """
import builtins, json, sys
import sklearn.linear_model, numba
heavy = {"torch", "cupy", "dask", "distributed", "matplotlib", "rich", "pyarrow", "formulaic"}
before = set(sys.modules)
asked = set()
plain_import = builtins.__import__
def recording_import(name, globals=None, locals=None, fromlist=(), level=0):
    top, module = name.split(".")[0], (globals or {}).get("__name__", "")
    if level == 0 and top in heavy and module.split(".")[0] == "mixexp":
        asked.add(f"{module} imports {top}")
    return plain_import(name, globals, locals, fromlist, level)
builtins.__import__ = recording_import
import mixexp
loaded = {name.split(".")[0] for name in set(sys.modules) - before} & heavy
print(json.dumps(sorted(asked) + sorted(f"{name} is loaded" for name in loaded)))
"""


def _python(code: str) -> str:
    """What a new interpreter prints when it runs ``code``."""
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    return run.stdout


def test_import_loads_nothing_heavy() -> None:
    assert json.loads(_python(_LOADED_BY_IMPORT)) == []


@pytest.mark.slow
def test_import_time_is_near_that_of_its_dependencies() -> None:
    codes = {"base": "import sklearn.linear_model, numba", "mixexp": "import mixexp"}
    seconds: dict[str, list[float]] = {name: [] for name in codes}
    for _ in range(7):
        for name, code in codes.items():
            start = time.perf_counter()
            _python(code)
            seconds[name].append(time.perf_counter() - start)
    ratio = statistics.median(seconds["mixexp"]) / statistics.median(seconds["base"])
    assert ratio < 1.5


def test_public_names_are_documented() -> None:
    mixexp = importlib.import_module("mixexp")
    missing = [
        name
        for name in mixexp.__all__
        if not name.startswith("__") and not (getattr(mixexp, name).__doc__ or "").strip()
    ]
    assert missing == []
