"""Sphinx directive ``.. mixexp-table:: <name>``: tables made from the enum and the registries."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from importlib import import_module, util
from pathlib import Path

from docutils import nodes
from sphinx.util.docutils import SphinxDirective


def _registry(name: str, filled_by: str) -> dict:
    """The package's own parts of a registry, after the import that fills it."""
    import_module(filled_by)
    parts = getattr(import_module("mixexp._component"), name)
    # an example of the gallery may have registered a part of its own in this process
    return {key: part for key, part in parts.items() if part.__module__.startswith("mixexp.")}


def _statuses() -> Iterator[list[str]]:
    from mixexp import Status

    yield ["``status_``", "``converged_``", "Sentence"]
    for status in Status:
        yield [f"``{status.name}``", "yes" if status.converged else "no", status.value]


def _experts() -> Iterator[list[str]]:
    parts = _registry("EXPERTS", "mixexp.experts")

    yield ["``expert=``", "Links (default first)", "Row-wise inputs", "Dispersion"]
    names = {
        "gaussian": "standard deviation",
        "gamma": "shape",
        "multivariate_gaussian": "covariance matrix",
    }
    for name, part in parts.items():
        links = ", ".join(getattr(part, "links", ())) or getattr(part(), "link_name", "softmax")
        yield [f"``{name}``", links, ", ".join(part.takes) or "none", names.get(name, "none")]


def _gates() -> Iterator[list[str]]:
    parts = _registry("GATES", "mixexp.gates")

    yield ["``gate=``", "Class", "What it is"]
    for name, part in parts.items():
        first = (part.__doc__ or "").strip().split("\n")[0]
        yield [f"``{name}``", f"``{part.__name__}``", f"``{first}``"]


def _criteria() -> Iterator[list[str]]:
    parts = _registry("CRITERIA", "mixexp.selection")

    yield ["``criterion=``", "In words"]
    for name, part in parts.items():
        yield [f"``{name}``", part.meaning]


def _penalties() -> Iterator[list[str]]:
    parts = _registry("PENALTIES", "mixexp.penalties")

    yield ["Penalty", "What it is"]
    for part in parts.values():
        yield [f"``{part.__name__}``", (part.__doc__ or "").strip().split("\n")[0]]


def _of_tests(name: str):
    """A module of the tests that describes what is tested."""
    path = Path(__file__).resolve().parents[2] / "tests" / name
    spec = util.spec_from_file_location(f"mixexp_docs_{path.stem}", path)
    if spec is None or spec.loader is None:
        raise FileNotFoundError(path)
    module = util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


def _routers() -> Iterator[list[str]]:
    from mixexp.neural import ROUTERS

    cases = _of_tests("contracts/router_cases.py")
    yield ["Name", "Class", "What it is", "Needs", "Causal", "Alone", "Number varies", "Gradient"]
    for name, cls in ROUTERS.items():
        if not cls.__module__.startswith("mixexp."):
            continue
        router = cases.build(name)
        modes = [router.flags(training) for training in (True, False)]
        first = (cls.__doc__ or "").strip().split("\n\n")[0]
        promises = [
            _by_mode(*(getattr(mode, flag) for mode in modes))
            for flag in ("causal", "batch_independent", "variable_k")
        ]
        gradient = "exact" if modes[0].differentiable else "estimated"
        promises.append(gradient if modes[0].trainable else "none")
        needs = ", ".join(sorted(router.needs)) or "x"
        link = f":class:`~mixexp.neural.{cls.__name__}`"
        yield [f"``{name}``", link, first, needs, *promises]


def _by_mode(training: bool, prediction: bool) -> str:
    """Where a promise holds."""
    if training == prediction:
        return "yes" if training else "no"
    return "in training" if training else "in prediction"


def _neural_papers() -> Iterator[list[str]]:
    papers = _of_tests("papers/neural/papers.py").PAPERS
    yield ["Paper", "Name here", "What the test shows", "Found"]
    for paper in papers:
        names = ", ".join(f"``{name}``" for name in paper.names.split(", "))
        shown = f"{paper.shows} (``{paper.test}``)"
        yield [paper.title, names, shown, paper.found]


TABLES = {
    "routers": _routers,
    "neural_papers": _neural_papers,
    "status": _statuses,
    "experts": _experts,
    "gates": _gates,
    "criteria": _criteria,
    "penalties": _penalties,
}


class MixexpTable(SphinxDirective):
    """One of `TABLES` as a list-table."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        text = [".. list-table::", "   :header-rows: 1", ""]
        for row in TABLES[self.arguments[0]]():
            for i, cell in enumerate(row):
                text.append(f"   {'*' if i == 0 else ' '} - {' '.join(cell.split())}")
        return self.parse_text_to_nodes("\n".join([*text, ""]))


def setup(app):
    """Called by Sphinx."""
    app.add_directive("mixexp-table", MixexpTable)
    return {"parallel_read_safe": True}
