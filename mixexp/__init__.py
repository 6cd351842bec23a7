"""mixexp: statistical mixtures of experts."""

from __future__ import annotations

import importlib

__version__ = "0.1.0"

_PUBLIC = {
    "MoERegressor": "mixexp.estimators",
    "MoEClassifier": "mixexp.estimators",
    "load": "mixexp.selection",
    "SoftmaxGate": "mixexp.gates",
    "ConstantGate": "mixexp.gates",
    "GaussianExpert": "mixexp.experts",
    "PoissonExpert": "mixexp.experts",
    "BinomialExpert": "mixexp.experts",
    "GammaExpert": "mixexp.experts",
    "MultinomialExpert": "mixexp.experts",
    "L2": "mixexp.penalties",
    "EM": "mixexp.em.driver",
    "MultiStart": "mixexp.em.start",
    "Status": "mixexp.em.status",
    "SelectionStudy": "mixexp.selection",
}

__all__ = ["__version__", *_PUBLIC]


def __getattr__(name):
    """Import public names on first use, so that ``import mixexp`` stays light."""
    if name in _PUBLIC:
        value = getattr(importlib.import_module(_PUBLIC[name]), name)
        globals()[name] = value
        return value
    raise AttributeError(f"module 'mixexp' has no attribute {name!r}")


def __dir__():
    return sorted([*globals(), *_PUBLIC])
